"""Training data of made-up sums, and runs of the training command on the tiny base."""

import json
from pathlib import Path

import pytest

from tests.support.training import Train, trainer


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


@pytest.fixture(scope="session")
def train(tiny_base: Path, maths_file: Path) -> Train:
    """Run a method with small settings; what a test sets wins."""
    return trainer(tiny_base, maths_file)
