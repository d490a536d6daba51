"""A LoRI adapter as its authors release them, written by PEFT 0.12 and with masks beside it."""

import io
import json
import tarfile
from pathlib import Path

import pytest

from adapters.training.methods.lori import extract
from tests.engine.test_exactness import PROMPT, assert_equal
from tests.reference.peft_mixture import Reference
from tests.support import running_server
from tests.support.cli import loralloy
from tests.support.generation import Ask, generate
from tests.support.running_server import RunningServer
from tests.support.tiny_llama import BASE_NAME, LINEARS, make_adapter

NAME = "LoRI-D_safety_tiny_rank_32"
SHAPE = {"r": 32, "lora_alpha": 64, "lora_dropout": 0.05}
PEFT_0_12 = {
    "alpha_pattern": {},
    "auto_mapping": None,
    "base_model_name_or_path": BASE_NAME,
    "bias": "none",
    "fan_in_fan_out": False,
    "inference_mode": True,
    "init_lora_weights": True,
    "layer_replication": None,
    "layers_pattern": None,
    "layers_to_transform": None,
    "loftq_config": {},
    "megatron_config": None,
    "megatron_core": "megatron.core",
    "modules_to_save": None,
    "peft_type": "LORA",
    "rank_pattern": {},
    "revision": None,
    "target_modules": list(LINEARS),
    "task_type": "CAUSAL_LM",
    "use_dora": False,
    "use_rslora": False,
    **SHAPE,
}


@pytest.fixture(scope="module")
def released(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_adapter(tiny_base, tmp_path_factory.mktemp("released") / NAME, 7, **SHAPE)
    (folder / "adapter_config.json").write_text(json.dumps(PEFT_0_12, indent=2))
    (folder / "README.md").write_text("---\nlibrary_name: peft\n---\n# LoRI-D\n")
    (folder / ".gitattributes").write_text("*.pt filter=lfs diff=lfs merge=lfs -text\n")
    assert extract.main([str(folder), "--sparsity", "0.5", "0.9"]) == 0
    return folder


def test_its_folder_is_taken_up_and_served_exactly(server: RunningServer, released: Path) -> None:
    pushed = loralloy("adapters", "push", "safety", str(released), LORALLOY_URL=server.url)
    assert pushed.returncode == 0, pushed.stderr
    try:
        asked = Ask(PROMPT, {"model": "safety"})
        (got,) = generate(server, [asked])
    finally:
        with server.client() as client:
            client.delete("/v1/adapters/safety")
    reference = Reference(server.base_folder, {"safety": released})
    assert_equal(reference, got, asked, {"safety": 1.0})


def test_an_archive_is_taken_without_its_pickled_masks(
    server: RunningServer, released: Path
) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.add(released, arcname=NAME)
    with server.client() as client:
        told = client.post(
            "/v1/adapters",
            data={"name": "safety"},
            files={"archive": ("lori.tar.gz", packed.getvalue())},
        )
        assert told.status_code == 201, told.text
        try:
            again = running_server.push(server, "safety", released)
            assert (again.status_code, again.json()["digest"]) == (200, told.json()["digest"])
            stored = list(server.log.parent.rglob("*_mask.pt"))
        finally:
            client.delete("/v1/adapters/safety")
    assert stored == []
