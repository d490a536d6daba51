"""Small runs of the training commands."""

from collections.abc import Callable
from pathlib import Path

from adapters.training import command

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

    def run(out: Path, *further: str, method: str = "lora", **settings: object) -> int:
        own = {"data": f"[{data}]", "base_model": base, **SMALL, **settings}
        told = [f"--set={key}={value}" for key, value in own.items() if value is not None]
        fixed = ["--out", str(out), "--save-every", "2", "--threads", "1", "--quiet"]
        return command.main(method, [*told, *fixed, *further])

    return run
