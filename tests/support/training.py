"""Small runs of the training commands, and what the bundled recipes are for."""

from collections.abc import Callable
from pathlib import Path

import yaml

from adapters.training import command
from adapters.training.methods import METHODS
from adapters.training.plan.recipe_file import BUNDLED

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


def methods_of(recipe: str) -> list[str]:
    """The methods that a bundled recipe is for."""
    content = yaml.safe_load((BUNDLED / f"{recipe}.yaml").read_text(encoding="utf-8"))
    return list(content.get("methods") or METHODS)
