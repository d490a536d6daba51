"""What was noticed about an upload is in its answer, in lists and in ``loralloy adapters``."""

import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

from tests.support.bare_server import BareServer, files_of
from tests.support.scripted_server import says, scripted
from tests.unit.server.cli.test_command import loralloy

WEIGHTS = "adapter_model.safetensors"


@pytest.fixture
def idle(tiny_adapters, tiny_base, tmp_path):
    """An adapter that changes nothing, with the base model's head beside its factors."""
    folder = shutil.copytree(tiny_adapters["r8-a"], tmp_path / "idle")
    tensors = load_file(folder / WEIGHTS)
    tensors = {name: t * 0 if "lora_B" in name else t for name, t in tensors.items()}
    tensors["base_model.model.lm_head.weight"] = load_file(tiny_base / "model.safetensors")[
        "lm_head.weight"
    ]
    save_file(tensors, folder / WEIGHTS)
    config = json.loads((folder / "adapter_config.json").read_text())
    config["modules_to_save"] = ["lm_head"]
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def check_warnings(adapter) -> None:
    head, switch, zeros = adapter["warnings"]
    assert "lm_head.weight" in head
    assert "modules_to_save" in switch
    assert "changes nothing" in zeros


def test_the_answer_lists_and_versions_have_them(server: BareServer, start, idle, tiny_adapters):
    check_warnings(server.push("mine", idle))
    assert server.push("fine", tiny_adapters["r8-b"])["warnings"] == []
    check_warnings(server.http.get("/v1/adapters/mine").json())
    fine, mine = server.http.get("/v1/adapters").json()["data"]
    assert fine["warnings"] == []
    check_warnings(mine)
    answer = server.http.put("/v1/adapters/fine", files=files_of(idle))
    check_warnings(answer.json())
    now, before = server.http.get("/v1/adapters/fine/versions").json()["data"]
    check_warnings(now)
    assert before["warnings"] == []
    back = server.http.post("/v1/adapters/fine/restore", json={"digest": before["digest"]})
    assert back.json()["warnings"] == []
    again = start()
    check_warnings(again.http.get("/v1/adapters/mine").json())


def test_the_command_line_prints_them(server: BareServer, idle, tiny_adapters, tmp_path):
    mine = server.push("mine", idle)
    listed = server.http.get("/v1/adapters").json()
    with scripted(says(listed), says(mine), says(mine)) as scripted_server:
        url = ("--url", scripted_server.url)
        table = loralloy("adapters", "list", *url).stdout
        shown = loralloy("adapters", "show", "mine", *url).stdout
        pushed = loralloy("adapters", "push", "mine", str(idle), *url).stdout
    assert table.count("mine: warning: ") == pushed.count("mine: warning: ") == 3
    for warning in mine["warnings"]:
        assert f"mine: warning: {warning}\n" in table
        assert f"mine: warning: {warning}\n" in pushed
    assert json.loads(shown)["warnings"] == mine["warnings"]
