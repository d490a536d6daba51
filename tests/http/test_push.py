"""A finished run to a running server: it answers by its name, and the router knows it."""

import json
from pathlib import Path

import httpx
import pytest

from tests.support.running_server import RunningServer
from tests.support.training import trainer


@pytest.fixture
def sums(tmp_path: Path) -> Path:
    path = tmp_path / "sums.jsonl"
    rows = [{"question": f"What is {n} plus {n * n}?", "answer": f"{n + n * n}"} for n in range(20)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_trained_adapter_is_pushed_with_what_its_router_needs(
    server: RunningServer, tmp_path: Path, sums: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = trainer(server.base_folder, sums)
    assert train(tmp_path / "sums", "--push", server.url, method="lori_d") == 0
    with httpx.Client(base_url=server.url, timeout=60) as http:
        try:
            shown = http.get("/v1/adapters/sums").json()
            assert shown["digest"] in capsys.readouterr().out
            assert "LoRI-D, maths" in shown["routing"]["description"]
            assert shown["routing"]["examples"] == 20
            body = {"model": "sums", "prompt": "What is 3 plus 9?", "max_tokens": 4}
            assert http.post("/v1/completions", json=body).json()["mixture"]["adapters"] == {
                "sums": 1.0
            }
            routed = http.post(
                "/v1/route", json={"prompt": "What is 5 plus 25?", "policy": "nearest"}
            )
            assert list(routed.json()["mixture"]["adapters"]) == ["sums"]
            assert train(tmp_path / "again", "--name", "sums", "--push", server.url) == 1
            assert "the server refused it" in capsys.readouterr().err
        finally:
            http.delete("/v1/adapters/sums")


def test_without_a_server_the_adapter_is_kept_and_it_is_said_where(
    tmp_path: Path, tiny_base: Path, sums: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = trainer(tiny_base, sums)
    assert train(tmp_path / "sums", "--push", "http://127.0.0.1:9") == 1
    assert "no server answers at http://127.0.0.1:9" in capsys.readouterr().err
    assert (tmp_path / "sums" / "adapter_model.safetensors").is_file()
