"""Circles of imports are found however long they are, and a graph without one has none."""

import sys
from pathlib import Path

import pytest

from tools import import_cycles
from tools.import_cycles import circles


@pytest.mark.parametrize("length", [2, 3, 7])
def test_a_circle_is_found(length):
    ring = [f"m{number}" for number in range(length)]
    imports = [*zip(ring, [*ring[1:], ring[0]], strict=True), ("above", "m0"), ("m1", "below")]
    assert circles(imports) == [sorted(ring)]


def test_two_ways_to_one_module_are_no_circle():
    assert circles([("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")]) == []


@pytest.mark.parametrize(
    "way_back",
    [
        "import house.front\n",
        "def late():\n    import house.front\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import house.front\n",
    ],
    ids=["at once", "late", "for types"],
)
def test_late_and_type_only_imports_count(tmp_path, monkeypatch, capsys, way_back):
    package = Path(tmp_path / "house")
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "front.py").write_text("import house.back\n")
    (package / "back.py").write_text(way_back)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(import_cycles, "PACKAGES", ("house",))
    assert import_cycles.main() == 1
    assert "house.back, house.front" in capsys.readouterr().out
    (package / "back.py").write_text("")
    assert import_cycles.main() == 0
    sys.modules.pop("house", None)
