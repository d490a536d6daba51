"""``loralloy interference`` over the demo adapters."""

import csv
from pathlib import Path

from tests.support.cli import fault, loralloy

DEMOS = Path(__file__).resolve().parents[4] / "examples" / "adapters"
MATHS, CODE, READING = (str(DEMOS / name) for name in ("maths", "code", "reading"))


def test_it_prints_a_line_for_each_pair_and_writes_both_files(tmp_path: Path) -> None:
    table, picture = tmp_path / "table.csv", tmp_path / "map.svg"
    done = loralloy(
        "interference", MATHS, CODE, READING, "--csv", str(table), "--plot", str(picture)
    )
    assert done.returncode == 0, done.stderr
    assert [line.split("  ")[0] for line in done.stdout.splitlines()[1:]] == [
        "maths, code",
        "maths, reading",
        "code, reading",
    ]
    with table.open() as lines:
        modules = {line["module"] for line in csv.DictReader(lines)}
    assert len(modules) == 1 + 30 * 4
    drawn = picture.read_text()
    for text in ("maths, code", "updates: |cosine|", "layer"):
        assert text in drawn
    assert "masks of B" not in drawn, "no adapter here is sparse"


def test_pictures_are_the_same_each_time(tmp_path: Path) -> None:
    for name in ("one.png", "other.png"):
        done = loralloy("interference", MATHS, CODE, "--plot", str(tmp_path / name))
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "other.png").read_bytes()


def test_faults_take_one_line(tmp_path: Path) -> None:
    assert "two adapters or more" in fault("interference", MATHS)
    assert "x.txt cannot be drawn: its name must end in one of" in fault(
        "interference", MATHS, CODE, "--plot", "x.txt"
    )
    assert str(tmp_path) in fault("interference", MATHS, str(tmp_path))
    missing = str(tmp_path / "none" / "x.csv")
    assert "cannot be written" in fault("interference", MATHS, CODE, "--csv", missing)
