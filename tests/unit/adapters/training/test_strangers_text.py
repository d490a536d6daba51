"""What a server says to a training command commands no terminal."""

import json
from pathlib import Path

import pytest

from adapters.training.evaluation.command import main as evaluate
from tests.support.hostile_text import HOSTILE, commands_in
from tests.support.scripted_server import says, scripted
from tests.support.training import trainer


def rows(folder: Path) -> Path:
    path = folder / "sums.jsonl"
    made = [{"question": f"What is {n} plus {n}?", "answer": f"{n + n}"} for n in range(8)]
    path.write_text("".join(json.dumps(row) + "\n" for row in made))
    return path


@pytest.mark.parametrize(
    "answer",
    [
        says({"data": [{"id": HOSTILE, "kind": "adapter"}]}),
        says({"error": {"message": HOSTILE}}, 400),
    ],
)
def test_of_an_evaluation(answer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with scripted(answer) as server:
        arguments = ["--server", server.url, "--models", "maths", "--out", str(tmp_path / "out")]
        assert evaluate([*arguments, "--tasks", f"maths={rows(tmp_path)}"]) == 1
    out, err = capsys.readouterr()
    assert commands_in(out + err) == set()
    assert len(err.splitlines()[-1:]) == 1


def test_of_a_push(tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = trainer(tiny_base, rows(tmp_path))
    with scripted(says({"digest": HOSTILE}, 201)) as server:
        assert train(tmp_path / "out", "--push", server.url) == 0
        (method, path, _, _) = server.seen[0]
    assert (method, path) == ("POST", "/v1/adapters")
    out, err = capsys.readouterr()
    assert "owned" in out
    assert commands_in(out + err) == set()
