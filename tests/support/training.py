"""Small runs of the training commands, and what the bundled recipes are for."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from adapters.training import command
from adapters.training.methods import METHODS
from adapters.training.plan.recipe_file import BUNDLED
from adapters.training.run import progress

Train = Callable[..., int]

SMALL = {
    "task": "maths",
    "steps": "6",
    "batch_size": "2",
    "max_tokens": "96",
    "dtype": "float32",
    "warmup_steps": "1",
}


def trainer(base: Path, data: Path) -> Train:
    """Runs a method on data with small settings; what a caller sets wins, None leaves out."""

    def run(out: Path, *further: str, method: str = "lora", **changes: object) -> int:
        own = {"data": f"[{data}]", "base_model": base, **SMALL, **changes}
        settings = [f"--set={key}={value}" for key, value in own.items() if value is not None]
        fixed = ["--out", str(out), "--save-every", "2", "--threads", "1", "--quiet"]
        return command.main(method, [*settings, *fixed, *further])

    return run


@contextmanager
def interrupted_at(step: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Press Ctrl-C, within the block, once this step of a run has been logged."""
    logged = progress.StepReport.on_log

    def then_stop(self, args, state, control, logs=None, **rest):
        logged(self, args, state, control, logs, **rest)
        if state.global_step == step:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(progress.StepReport, "on_log", then_stop)
        yield


def methods_of(recipe: str) -> list[str]:
    """The methods that a bundled recipe is for."""
    content = yaml.safe_load((BUNDLED / f"{recipe}.yaml").read_text(encoding="utf-8"))
    return list(content.get("methods") or METHODS)
