"""The largest magnitude of a tensor is told from its bits."""

import io

import numpy as np
import pytest

from adapters.errors import MalformedFile
from adapters.format.safetensors_header import TensorSpec
from adapters.validation.finite import max_magnitude


def written(dtype: str, values: list[float]) -> bytes:
    if dtype == "BF16":
        wide = np.array(values, "<f4").view("<u4") >> 16
        return wide.astype("<u2").tobytes()
    return np.array(values, {"F32": "<f4", "F16": "<f2"}[dtype]).tobytes()


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
@pytest.mark.parametrize(
    ("values", "largest"),
    [
        ([0.0, -0.0], 0.0),
        ([0.5, -3.0, 2.0], 3.0),
        ([1.0, 1.5], 1.5),
        ([2.0**-14], 2.0**-14),
        ([-(2.0**15)], 2.0**15),
        ([], 0.0),
        ([1.0, np.inf], None),
        ([-np.inf, 1.0], None),
        ([np.nan, 1.0], None),
    ],
)
def test_the_largest_magnitude(dtype: str, values: list[float], largest: float | None) -> None:
    data = written(dtype, values)
    file = io.BytesIO(b"header" + b"\xff" * 6 + data + b"\xff" * 8)
    spec = TensorSpec(dtype, (len(values),), 6, 6 + len(data))
    assert max_magnitude(file, 6, spec) == largest


@pytest.mark.parametrize(("dtype", "largest"), [("F32", 3.4028234663852886e38), ("F16", 65504.0)])
def test_the_largest_number_of_a_format_is_finite(dtype: str, largest: float) -> None:
    data = written(dtype, [largest])
    assert max_magnitude(io.BytesIO(data), 0, TensorSpec(dtype, (1,), 0, len(data))) == largest


def test_a_large_tensor_is_read_in_pieces() -> None:
    count = 2**20 + 2**19 + 1
    for at in (0, 2**20 - 1, 2**20, count - 1):
        values = np.zeros(count, "<f4")
        values[at] = -7.0
        file = io.BytesIO(values.tobytes())
        assert max_magnitude(file, 0, TensorSpec("F32", (count,), 0, 4 * count)) == 7.0


def test_a_file_that_became_shorter_is_told() -> None:
    with pytest.raises(MalformedFile) as caught:
        max_magnitude(io.BytesIO(bytes(8)), 0, TensorSpec("F32", (3,), 0, 12))
    assert str(caught.value) == "adapter_model.safetensors became shorter while it was read"
