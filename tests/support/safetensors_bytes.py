"""Reads and writes safetensors files byte by byte, so that tests can write broken ones too."""

import json
from dataclasses import dataclass

ITEM_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}


@dataclass(frozen=True)
class RawTensor:
    """A tensor as the file holds it."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes

    def filled(self, pattern: bytes) -> "RawTensor":
        """The same tensor with its first element replaced."""
        return RawTensor(self.dtype, self.shape, pattern + self.data[len(pattern) :])

    def reshaped(self, *shape: int) -> "RawTensor":
        """Zeros of another shape."""
        count = 1
        for size in shape:
            count *= size
        return RawTensor(self.dtype, shape, bytes(count * ITEM_BYTES[self.dtype]))


def with_header(header: bytes, data: bytes = b"") -> bytes:
    """A file of any header whatever."""
    return len(header).to_bytes(8, "little") + header + data


def parse(content: bytes) -> dict[str, RawTensor]:
    """Name → tensor of a correct file."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header.pop("__metadata__", None)
    data = content[8 + length :]
    return {
        name: RawTensor(e["dtype"], tuple(e["shape"]), data[slice(*e["data_offsets"])])
        for name, e in header.items()
    }


def serialise(tensors: dict[str, RawTensor]) -> bytes:
    """A correct file of the tensors, in the order given."""
    header: dict[str, object] = {}
    data = b""
    for name, tensor in tensors.items():
        header[name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": [len(data), len(data) + len(tensor.data)],
        }
        data += tensor.data
    return with_header(json.dumps(header).encode(), data)
