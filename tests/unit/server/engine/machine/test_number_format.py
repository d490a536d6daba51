"""``auto`` is what the processor multiplies, and what the memory holds."""

import json
import struct
from pathlib import Path

import pytest

from server.engine.machine.number_format import available_bytes, chosen, number_format, parameters

GIB = 2**30
WITH = frozenset({"avx512f", "avx512_bf16"})
WITHOUT = frozenset({"avx2", "fma"})


@pytest.mark.parametrize(
    ("flags", "available", "expected"),
    [
        (WITH, 9 * GIB, "bfloat16"),
        (WITH, 1 * GIB, "bfloat16"),
        (WITHOUT, 9 * GIB, "float32"),
        (WITHOUT, 3 * GIB, "float32"),
        (WITHOUT, None, "float32"),
        (WITHOUT, 3 * GIB - 1, "bfloat16"),
        (frozenset(), 9 * GIB, "float32"),
    ],
)
def test_auto(flags: frozenset[str], available: int | None, expected: str) -> None:
    found = chosen(flags, 3 * GIB, available)
    assert found.name == expected
    assert found.reason
    assert str(found).startswith(f"{expected} (")


def test_what_does_not_fit_says_how_much_is_missing() -> None:
    assert "float32 needs 3.0 GiB, and 2.0 are free" in chosen(WITHOUT, 3 * GIB, 2 * GIB).reason


@pytest.mark.parametrize("asked", ["bfloat16", "float16", "float32"])
def test_what_is_asked_for_is_taken(asked: str, tmp_path: Path) -> None:
    assert str(number_format(asked, tmp_path / "nowhere", 0)) == asked


def test_parameters_are_counted_from_the_headers(tiny_base: Path, tmp_path: Path) -> None:
    from safetensors import safe_open

    with safe_open(tiny_base / "model.safetensors", "np") as file:
        expected = sum(file.get_tensor(name).size for name in file.keys())  # noqa: SIM118
    assert parameters(tiny_base) == expected
    assert parameters(tmp_path) == 0


@pytest.mark.parametrize(
    "content",
    [b"", b"\x01", struct.pack("<Q", 2**60), struct.pack("<Q", 4) + b"nope", struct.pack("<Q", 99)],
)
def test_a_damaged_header_counts_nothing(content: bytes, tmp_path: Path) -> None:
    """vLLM will say what is wrong with it."""
    (tmp_path / "model.safetensors").write_bytes(content)
    header = json.dumps({"__metadata__": {}, "a": {"dtype": "F32", "shape": [3, 5]}, "b": {}})
    good = struct.pack("<Q", len(header)) + header.encode()
    (tmp_path / "other.safetensors").write_bytes(good)
    assert parameters(tmp_path) == 15 + 1


def test_memory_is_the_lesser_of_machine_and_container(tmp_path: Path) -> None:
    meminfo, group = tmp_path / "meminfo", tmp_path / "group"
    assert available_bytes(meminfo, group) is None
    meminfo.write_text("MemTotal: 99 kB\nMemAvailable:   2048 kB\n")
    assert available_bytes(meminfo, group) == 2048 * 1024
    group.mkdir()
    (group / "memory.current").write_text("1000\n")
    for limit, expected in (("max", 2048 * 1024), ("5000", 4000), ("900", 0)):
        (group / "memory.max").write_text(f"{limit}\n")
        assert available_bytes(meminfo, group) == expected
