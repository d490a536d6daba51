"""The header of a safetensors file: what is taken from it, and what is refused in which words."""

import io
import json
from typing import Any

import pytest

from adapters.errors import (
    InvalidAdapter,
    MalformedFile,
    TooLarge,
    UnsafeFile,
    UnsupportedDtype,
)
from adapters.format.safetensors_header import SafetensorsHeader, TensorSpec, read_header
from tests.support.safetensors_bytes import with_header

FILE = "adapter_model.safetensors"


def entry(
    shape: Any, begin: Any = 0, end: Any = None, dtype: Any = "F32", **more: Any
) -> dict[str, Any]:
    offsets = [begin, 4 if end is None else end]
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets, **more}


def read(entries: dict[str, Any], data: int, bound: int = 2**16) -> SafetensorsHeader:
    content = with_header(json.dumps(entries).encode(), bytes(data))
    return read_header(io.BytesIO(content), bound)


def refusal(kind: type[InvalidAdapter], content: bytes, bound: int = 2**16) -> str:
    with pytest.raises(kind) as caught:
        read_header(io.BytesIO(content), bound)
    return str(caught.value)


def refused(kind: type[InvalidAdapter], entries: dict[str, Any], data: int) -> str:
    return refusal(kind, with_header(json.dumps(entries).encode(), bytes(data)))


def test_a_header_tells_each_tensor_and_where_the_data_start() -> None:
    entries = {
        "__metadata__": {"format": "pt"},
        "b": entry([2, 3], 4, 16, "BF16"),
        "a": entry([1], 0, 4),
        "c": entry([2], 16, 20, "F16"),
        "none": entry([0, 3], 16, 16),
    }
    header = read(entries, 20)
    assert header.tensors == {
        "b": TensorSpec("BF16", (2, 3), 4, 16),
        "a": TensorSpec("F32", (1,), 0, 4),
        "c": TensorSpec("F16", (2,), 16, 20),
        "none": TensorSpec("F32", (0, 3), 16, 16),
    }
    assert header.data_start == 8 + len(json.dumps(entries))
    assert header.data_bytes == 20


def test_a_file_may_hold_no_tensor() -> None:
    header = read({}, 0)
    assert header.tensors == {}
    assert header.data_bytes == 0


def test_a_header_is_read_up_to_its_bound_and_is_the_first_thing_of_the_file() -> None:
    content = with_header(b"{}")
    file = io.BytesIO(content)
    file.seek(5)
    assert read_header(file, 2).data_start == 10
    assert refusal(TooLarge, content, 1) == f"the header of {FILE} has 2 bytes; 1 are allowed"


@pytest.mark.parametrize("content", [b"", b"\x02", bytes([0] * 7)])
def test_less_than_a_header_is_truncated(content: bytes) -> None:
    length = int.from_bytes(content, "little")
    assert refusal(MalformedFile, content) == (
        f"{FILE} is truncated or not a safetensors file: its header would end at byte {length + 8} "
        f"of {len(content)}"
    )


def test_a_header_longer_than_its_file_is_truncated() -> None:
    assert refusal(MalformedFile, with_header(b"{}")[:-1]) == (
        f"{FILE} is truncated or not a safetensors file: its header would end at byte 10 of 9"
    )


@pytest.mark.parametrize(
    "content",
    [b"\x80\x02}q\x00.", b"\x80\x05\x95" + bytes(9), b"PK\x03\x04" + bytes(30), b"\x80\x03"],
)
def test_a_pickle_is_told_from_other_files(content: bytes) -> None:
    assert refusal(UnsafeFile, content + b"\xff" * 8) == (
        f"{FILE} is really a pickled PyTorch file, which can run code when loaded; save the "
        "adapter as safetensors"
    )


@pytest.mark.parametrize(
    "content", [b"\x80", b"\x80\x06", b"\x80\x01", b"\x81\x02", b"PK\x05\x06", b"\x02\x80"]
)
def test_what_only_looks_like_a_pickle_is_no_pickle(content: bytes) -> None:
    words = refusal(MalformedFile, content + b"\xff" * 8 if len(content) > 1 else content)
    assert words.startswith(f"{FILE} is truncated")


@pytest.mark.parametrize("header", [b"[]", b" {}", b"x", b""])
def test_a_header_that_is_no_object_is_told(header: bytes) -> None:
    assert refusal(MalformedFile, with_header(header)) == (
        f"the header of {FILE} is not a JSON object"
    )


def test_a_header_that_is_no_json_is_told() -> None:
    words = refusal(MalformedFile, with_header(b"{"))
    assert words.startswith(f"the header of {FILE} is not valid JSON")


@pytest.mark.parametrize(
    "wrong",
    [3, None, {}, {"dtype": "F32", "shape": [1]}, entry([1], more=1), {"__metadata__": {}}],
)
def test_an_entry_that_is_no_tensors_is_named(wrong: Any) -> None:
    assert (
        refused(MalformedFile, {"odd": wrong}, 4)
        == "the header's entry for 'odd' is not a tensor's"
    )


@pytest.mark.parametrize("dtype", ["F64", "I8", "f32", "", 3, None, ["F32"]])
def test_a_number_format_that_is_not_served_is_told_with_those_that_are(dtype: Any) -> None:
    assert refused(UnsupportedDtype, {"t": entry([1], dtype=dtype)}, 4) == (
        f"tensor 't' is stored as {str(dtype)!r}; use F32, F16, BF16"
    )


@pytest.mark.parametrize("shape", [1, None, "1", [-1], [1.0], [True], ["1"], [2**63], [1] * 9])
def test_an_impossible_shape_is_told(shape: Any) -> None:
    assert refused(MalformedFile, {"t": entry(shape)}, 4) == (
        f"tensor 't' has the impossible shape {str(shape)!r}"
    )


def test_the_largest_shapes_that_are_possible() -> None:
    assert read({"t": entry([1] * 8)}, 4).tensors["t"].shape == (1,) * 8
    assert read({"t": entry([0, 2**63 - 1], 0, 0)}, 0).tensors["t"].shape == (0, 2**63 - 1)
    assert read({"t": entry([])}, 4).tensors["t"].shape == ()


@pytest.mark.parametrize("offsets", [None, 4, [0], [0, 4, 4], [-4, 0], [0, 4.0], [False, 4]])
def test_impossible_offsets_are_told(offsets: Any) -> None:
    assert refused(MalformedFile, {"t": entry([1]) | {"data_offsets": offsets}}, 4) == (
        f"tensor 't' has the impossible offsets {str(offsets)!r}"
    )


@pytest.mark.parametrize(
    ("dtype", "end", "span"), [("F32", 24, 20), ("F16", 12, 8), ("BF16", 14, 10), ("F32", 4, 0)]
)
def test_offsets_that_do_not_fit_the_shape_are_told(dtype: str, end: int, span: int) -> None:
    expected = 24 if dtype == "F32" else 12
    assert refused(MalformedFile, {"t": entry([2, 3], 4, end, dtype)}, 24) == (
        f"tensor 't' of shape '[2, 3]' and type {dtype} takes {expected} bytes, but its offsets "
        f"span {span}"
    )


@pytest.mark.parametrize("begin", [3, 5, 8])
def test_tensors_with_a_gap_or_an_overlap_are_told(begin: int) -> None:
    entries = {"b": entry([2], begin, begin + 8), "a": entry([1])}
    assert refused(MalformedFile, entries, 16) == (
        f"tensor 'b' starts at byte {begin} of the data, where 4 was due: tensors must neither "
        "overlap nor leave gaps"
    )


def test_of_two_tensors_that_begin_alike_the_longer_one_overlaps() -> None:
    entries = {"long": entry([2], 0, 8), "short": entry([1])}
    words = refused(MalformedFile, entries, 8)
    assert words.startswith("tensor 'long' starts at byte 0 of the data, where 4 was due")


def test_a_first_tensor_behind_a_gap_is_told() -> None:
    words = refused(MalformedFile, {"a": entry([1], 4, 8)}, 8)
    assert words.startswith("tensor 'a' starts at byte 4 of the data, where 0 was due")


@pytest.mark.parametrize("data", [3, 5])
def test_data_that_the_header_does_not_describe_are_told(data: int) -> None:
    assert refused(MalformedFile, {"a": entry([1])}, data) == (
        f"{FILE} holds {data} bytes of data where its header describes 4: the file is truncated or "
        "has something appended"
    )
