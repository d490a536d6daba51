"""Loading the reference loop, and refusing options that make no run."""

from collections.abc import Sequence
from pathlib import Path

from adapters.errors import AdapterError
from adapters.training.run.base_model import load_base
from benchmarks.tle.by_hand import MiniLM, centroids_of
from benchmarks.tle.loop import ReferenceLoop
from benchmarks.tle.prompts import MOST
from benchmarks.tle.rounds import Plan


class BenchmarkError(AdapterError):
    """The options or folders do not allow the run."""

    code = "benchmark_error"


def check(plan: Plan) -> None:
    """Let a plan through that can be carried out.

    Raises:
        BenchmarkError: it cannot; the message says which option is at fault.
    """
    if not plan.loads or not 1 <= min(plan.loads) <= max(plan.loads) <= MOST:
        raise BenchmarkError(f"--requests must be between 1 and {MOST}")
    if plan.rounds < 1:
        raise BenchmarkError("--rounds must be at least 1")
    if plan.stretch < 2 or plan.tokens < 1 or plan.tokens % plan.stretch:
        raise BenchmarkError("--stretch must be at least 2 and divide --tokens")
    if not 1 <= plan.reference <= plan.stretch:
        raise BenchmarkError("--reference-tokens must be between 1 and --stretch")


def adapter_folders(folder: Path) -> list[Path]:
    """The adapters of a folder that have a centroid, absolute and in order.

    Raises:
        BenchmarkError: there is none.
    """
    found = sorted(path.parent.resolve() for path in folder.glob("*/router.json"))
    if not found:
        raise BenchmarkError(f"{folder} holds no adapter with a centroid (*/router.json)")
    return found


def load_reference(
    base_model: str, encoder: str, adapters: Sequence[Path], dtype: str
) -> ReferenceLoop:
    """The loop over the base model and adapters.

    Raises:
        AdapterError: there is no such base model, or an adapter has no centroid.
    """
    centroids = {}
    for folder in adapters:
        found = centroids_of(folder)
        if found is None:
            raise BenchmarkError(f"adapter {folder.name!r} has no centroid")
        centroids[folder.name] = found
    model, tokenizer = load_base(base_model, dtype)
    folders = {folder.name: folder for folder in adapters}
    return ReferenceLoop(model, tokenizer, folders, MiniLM(Path(encoder)), centroids)
