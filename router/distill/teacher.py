"""The teacher's embeddings: what takes the time, so they can be kept in a folder."""

from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from router.encoders import Encoder

BATCH_SIZE = 64

Rows = npt.NDArray[np.float32]
Progress = Callable[[Sequence[Sequence[int]], str], Iterator[Sequence[int]]]
"""Goes through batches and shows how far it is, under a title."""


def silent(batches: Sequence[Sequence[int]], title: str) -> Iterator[Sequence[int]]:
    """No progress shown."""
    del title
    yield from batches


def embeddings(
    teacher: Encoder,
    texts: Sequence[str],
    *,
    title: str,
    progress: Progress = silent,
    keep: Path | None = None,
    fast: bool = False,
) -> Rows:
    """Embeddings [n, w] of n texts by the teacher, each distinct text encoded once.

    Args:
        teacher: the encoder.
        texts: the texts [n].
        title: what the progress bar says.
        progress: shows it.
        keep: a folder in which the embeddings are looked for, and kept for the next time.
        fast: in bfloat16 where the processor has it: off by about 0.001 a value.
    """
    distinct = sorted(set(texts), key=lambda text: (len(text), text))
    kept = None if keep is None else keep / f"{_digest(teacher.name, distinct, fast)}.npy"
    if kept is not None and kept.is_file():
        rows: Rows = np.load(kept)
    else:
        rows = _encoded(teacher, distinct, title, progress, fast)
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            np.save(kept, rows)
    row_of = {text: number for number, text in enumerate(distinct)}
    return rows[[row_of[text] for text in texts]]


def _encoded(
    teacher: Encoder, texts: list[str], title: str, progress: Progress, fast: bool
) -> Rows:
    rows = np.empty((len(texts), teacher.dimension), np.float32)
    batches = [
        range(start, min(start + BATCH_SIZE, len(texts)))
        for start in range(0, len(texts), BATCH_SIZE)
    ]
    for batch in progress(batches, title):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=fast):
            rows[batch[0] : batch[-1] + 1] = teacher.encode([texts[number] for number in batch])
    return rows


def _digest(name: str, texts: list[str], fast: bool) -> str:
    digest = blake2b(f"{name} {fast}".encode(), digest_size=12)
    for text in texts:
        digest.update(text.encode("utf-8", "replace") + b"\0")
    return digest.hexdigest()
