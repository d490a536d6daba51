"""Training data of made-up sums, and a run of the training command on the tiny base."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.training import sft


@pytest.fixture(scope="session")
def maths_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty sums, each a question and an answer of its own length."""
    path = tmp_path_factory.mktemp("data") / "sums.jsonl"
    rows = [
        {"question": f"What is {n} plus {n * n}?", "answer": f"{n} + {n * n}" + " = it" * (n % 4)}
        for n in range(20)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


Train = Callable[..., int]


@pytest.fixture
def train(tiny_base: Path, maths_file: Path) -> Train:
    """Run the command with small settings; further arguments come last and win."""

    def run(out: Path, *further: str) -> int:
        fixed = ["--task", "maths", "--data", str(maths_file), "--base-model", str(tiny_base)]
        small = ["--steps", "6", "--batch-size", "2", "--max-tokens", "96", "--dtype", "float32"]
        small += ["--warmup-steps", "1", "--save-every", "2", "--threads", "1", "--quiet"]
        return sft.main([*fixed, *small, "--out", str(out), *further])

    return run
