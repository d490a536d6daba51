"""The header of a safetensors file, read by hand and under a bound before any tensor.

Layout: 8 bytes N (little-endian), N bytes of JSON ``{name: {dtype, shape, data_offsets}}`` with an
optional ``__metadata__``, then the data. Tensors must fill the data without gap or overlap; the
format demands it, and a reader that trusts the offsets would otherwise read what is not there.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, cast

from adapters.errors import MalformedFile, TooLarge, UnsafeFile, UnsupportedDtype, shown
from adapters.files import open_regular_file
from adapters.format.strict_json import parse_json_object

ITEM_BYTES: Mapping[str, int] = MappingProxyType({"F32": 4, "F16": 2, "BF16": 2})
"""The number formats that the engine takes, with their sizes in bytes."""

_LENGTH_BYTES = 8
_MAX_DIMENSIONS = 8
_PICKLE_PROTOCOLS = range(2, 6)


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One tensor: its number format, shape, and bytes [begin, end) within the data."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class SafetensorsHeader:
    """All tensors of a file, and where in the file their data starts."""

    tensors: Mapping[str, TensorSpec]
    data_start: int

    @property
    def data_bytes(self) -> int:
        """Length of the data."""
        return max((spec.end for spec in self.tensors.values()), default=0)


def open_weights(path: Path) -> BinaryIO:
    """Open a weights file for reading, without following links."""
    return os.fdopen(open_regular_file(path), "rb")


def read_header(file: BinaryIO, max_header_bytes: int) -> SafetensorsHeader:
    """Read and check the header of an open safetensors file.

    Raises:
        UnsafeFile: the file is a pickle or a zip archive, as old PyTorch checkpoints are.
        MalformedFile: it is truncated, or the header contradicts itself or the file's length.
        UnsupportedDtype: a tensor is not F32, F16 or BF16.
        TooLarge: the header is longer than ``max_header_bytes``.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    prefix = file.read(_LENGTH_BYTES)
    length = int.from_bytes(prefix, "little")
    if len(prefix) < _LENGTH_BYTES or length > size - _LENGTH_BYTES:
        _refuse_pickle(prefix)
        raise MalformedFile(
            "adapter_model.safetensors is truncated or not a safetensors file: its header would "
            f"end at byte {length + _LENGTH_BYTES} of {size}"
        )
    if length > max_header_bytes:
        raise TooLarge(
            f"the header of adapter_model.safetensors has {length} bytes; {max_header_bytes} are "
            "allowed"
        )
    raw = file.read(length)
    if len(raw) < length or not raw.startswith(b"{"):
        raise MalformedFile("the header of adapter_model.safetensors is not a JSON object")
    entries = parse_json_object(raw, "the header of adapter_model.safetensors")
    entries.pop("__metadata__", None)
    tensors = {name: _spec(name, entry) for name, entry in entries.items()}
    _check_layout(tensors, size - _LENGTH_BYTES - length)
    return SafetensorsHeader(MappingProxyType(tensors), _LENGTH_BYTES + length)


def _refuse_pickle(prefix: bytes) -> None:
    is_pickle = prefix[:1] == b"\x80" and len(prefix) > 1 and prefix[1] in _PICKLE_PROTOCOLS
    if is_pickle or prefix[:4] == b"PK\x03\x04":
        raise UnsafeFile(
            "adapter_model.safetensors is really a pickled PyTorch file, which can run code when "
            "loaded; save the adapter as safetensors"
        )


def _spec(name: str, entry: object) -> TensorSpec:
    """Check one entry of the header by itself."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise MalformedFile(f"the header's entry for {shown(name)} is not a tensor's")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        raise UnsupportedDtype(
            f"tensor {shown(name)} is stored as {shown(dtype)}; use {', '.join(ITEM_BYTES)}"
        )
    if not _is_counts(shape) or len(cast("list[int]", shape)) > _MAX_DIMENSIONS:
        raise MalformedFile(f"tensor {shown(name)} has the impossible shape {shown(shape)}")
    if not _is_counts(offsets) or len(cast("list[int]", offsets)) != len(("begin", "end")):
        raise MalformedFile(f"tensor {shown(name)} has the impossible offsets {shown(offsets)}")
    begin, end = cast("list[int]", offsets)
    expected = prod(cast("list[int]", shape)) * ITEM_BYTES[dtype]
    if end - begin != expected:
        raise MalformedFile(
            f"tensor {shown(name)} of shape {shown(shape)} and type {dtype} takes {expected} "
            f"bytes, but its offsets span {end - begin}"
        )
    return TensorSpec(dtype, tuple(cast("list[int]", shape)), begin, end)


def _is_counts(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(item, int) and not isinstance(item, bool) and 0 <= item < 2**63 for item in value
    )


def _check_layout(tensors: Mapping[str, TensorSpec], data_bytes: int) -> None:
    """The tensors must lie end to end and fill the data exactly."""
    position = 0
    for name, spec in sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end)):
        if spec.begin != position:
            raise MalformedFile(
                f"tensor {shown(name)} starts at byte {spec.begin} of the data, where "
                f"{position} was due: tensors must neither overlap nor leave gaps"
            )
        position = spec.end
    if position != data_bytes:
        raise MalformedFile(
            f"adapter_model.safetensors holds {data_bytes} bytes of data where its header "
            f"describes {position}: the file is truncated or has something appended"
        )
