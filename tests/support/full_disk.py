"""A disk that is full: what would be written goes to ``/dev/full``, and the kernel refuses it."""

import tempfile
from pathlib import Path
from typing import Any

import pytest

_DEVICE = Path("/dev/full")


def fill_disk(monkeypatch: pytest.MonkeyPatch, folder: Path, *, room_for: int = 0) -> None:
    """From now on no file can be written below a folder, but for the next so many."""
    real = Path.open
    left = [room_for]

    def opened(path: Path, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if set(mode) & set("wxa+") and path.is_relative_to(folder):
            left[0] -= 1
            if left[0] < 0:
                return real(_DEVICE, mode.replace("x", "w"), *arguments, **options)
        return real(path, mode, *arguments, **options)

    monkeypatch.setattr(Path, "open", opened)


def fill_temporary_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on no temporary file can be written, as large parts of a form are."""

    def opened(*arguments: Any, **options: Any) -> Any:
        del arguments, options
        return _DEVICE.open("w+b")

    monkeypatch.setattr(tempfile, "TemporaryFile", opened)
