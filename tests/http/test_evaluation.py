"""Evaluation of what a running server serves: the same figures as the models have offline."""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, LlamaForCausalLM

from adapters.training.evaluation.command import main
from adapters.training.evaluation.local import LocalModel
from adapters.training.evaluation.served import ServedModel
from tests.support.running_server import RunningServer

PAIRS = [("What is 2 plus 2?\n\nAnswer:", " four"), ("Name a river.\n\nAnswer:", " the Rhine")]


def test_a_served_base_model_scores_and_answers_as_the_model_does(server: RunningServer) -> None:
    model = LlamaForCausalLM.from_pretrained(server.base_folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(server.base_folder)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    local, served = LocalModel("base", model, tokenizer), ServedModel(server.url, "base")
    for one, other in zip(local.log_probs(PAIRS), served.log_probs(PAIRS), strict=True):
        assert one == pytest.approx(other, abs=1e-3)
    prompts = [prompt for prompt, _ in PAIRS]
    assert served.generate(prompts, 6) == local.generate(prompts, 6)


def test_policies_and_adapters_are_measured_by_their_names(
    server: RunningServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "maths.jsonl"
    rows = [{"question": f"What is {n} plus 1?", "answer": f"{n + 1}"} for n in range(3)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = ["--server", server.url, "--models", "base", "r8-a", "uniform", "--items", "3"]
    arguments += ["--tasks", f"maths={data}", "--max-tokens", "4", "--out", str(tmp_path / "out")]
    assert main(arguments) == 0, capsys.readouterr().err
    figures = json.loads((tmp_path / "out.json").read_text())["figures"]
    losses = {name: found["maths"]["loss"]["mean"] for name, found in figures.items()}
    assert len(set(losses.values())) == 3, losses


@pytest.mark.parametrize(
    ("where", "name", "message"),
    [
        ("SERVER", "nobody", "knows no 'nobody'"),
        ("http://127.0.0.1:9", "base", "no server answers"),
    ],
)
def test_what_the_server_does_not_serve_is_said(
    server: RunningServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    where: str,
    name: str,
    message: str,
) -> None:
    data = tmp_path / "maths.jsonl"
    data.write_text('{"question": "a", "answer": "b"}\n')
    url = where.replace("SERVER", server.url)
    arguments = ["--server", url, "--models", name, "--tasks", f"maths={data}"]
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 1
    assert message in capsys.readouterr().err
