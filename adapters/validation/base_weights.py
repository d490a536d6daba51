"""Is a tensor of an upload the base model's own? Told from both files, in pieces, without torch."""

import json
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from adapters.errors import MalformedFile
from adapters.format.safetensors_header import ITEM_BYTES, TensorSpec

_INDEX: Final = "model.safetensors.index.json"
_SINGLE: Final = "model.safetensors"
_LENGTH_BYTES: Final = 8
_CHUNK_ELEMENTS: Final = 2**20
_TIED: Final = {"lm_head.weight": "model.embed_tokens.weight"}
_BF16_UNIT: Final = 2.0**-8
"""Half the distance between neighbours, relative: the most that rounding to bfloat16 changes."""
_F16_SMALLEST: Final = 2.0**-24


@dataclass(frozen=True, slots=True)
class BaseTensor:
    """A tensor of the base model's checkpoint: number format, shape, first byte in a file."""

    file: Path
    dtype: str
    shape: tuple[int, ...]
    begin: int


def find_base_tensor(folder: Path, name: str) -> BaseTensor | None:
    """A tensor of a checkpoint in Hugging Face's layout; None if it has none of that name.

    A head that is tied to the embedding, and so is not stored, is the embedding.
    """
    file = _file_of(folder, name)
    found = None if file is None else _in_header(file, name)
    if found is None and name in _TIED:
        return find_base_tensor(folder, _TIED[name])
    return found


def _file_of(folder: Path, name: str) -> Path | None:
    """The file that has a tensor, or would have it."""
    index = folder / _INDEX
    if index.is_file():
        shard = json.loads(index.read_text("utf-8"))["weight_map"].get(name)
        return None if shard is None else folder / str(shard)
    single = folder / _SINGLE
    return single if single.is_file() else None


def _in_header(path: Path, name: str) -> BaseTensor | None:
    """A tensor of a safetensors file; see ``adapters.format.safetensors_header`` for its layout."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        entry = json.loads(file.read(length)).get(name)
    if entry is None:
        return None
    begin = _LENGTH_BYTES + length + entry["data_offsets"][0]
    return BaseTensor(path, entry["dtype"], tuple(entry["shape"]), begin)


def is_equal(upload: BinaryIO, data_start: int, spec: TensorSpec, base: BaseTensor) -> bool:
    """Whether a tensor of an upload holds the base model's numbers.

    In the same number format they must be equal; in another, but for what rounding has changed.

    Args:
        upload: the upload's weights.
        data_start: byte of that file at which its data begin.
        spec: the tensor in it.
        base: what it is compared with.
    """
    if spec.shape != base.shape or base.dtype not in ITEM_BYTES:
        return False
    left = prod(spec.shape)
    with base.file.open("rb") as checkpoint:
        upload.seek(data_start + spec.begin)
        checkpoint.seek(base.begin)
        while left:
            count = min(left, _CHUNK_ELEMENTS)
            ours = _numbers(checkpoint, base.dtype, count)
            theirs = _numbers(upload, spec.dtype, count)
            if spec.dtype == base.dtype:
                same = bool((ours == theirs).all())
            else:
                allowed = _BF16_UNIT * np.abs(ours) + _F16_SMALLEST
                same = bool((np.abs(ours - theirs) <= allowed).all())
            if not same:
                return False
            left -= count
    return True


def _numbers(file: BinaryIO, dtype: str, count: int) -> NDArray[np.float32]:
    """The next numbers of a file, in fp32."""
    data = file.read(count * ITEM_BYTES[dtype])
    if len(data) < count * ITEM_BYTES[dtype]:
        raise MalformedFile("a file of weights became shorter while it was read")
    if dtype == "F32":
        return np.frombuffer(data, "<f4")
    if dtype == "F16":
        return np.frombuffer(data, "<f2").astype(np.float32)
    wide = np.frombuffer(data, "<u2").astype(np.uint32) << 16
    return wide.view(np.float32)
