"""The committed results are what their own measurements say, in JSON and in the tables."""

import json
from pathlib import Path

import pytest

from benchmarks import crowd
from benchmarks.engine import run
from benchmarks.engine.figures import figures, joined_table, speeds_of
from benchmarks.tle import result as tle
from benchmarks.tle.variants import AIMS

RESULTS = Path(crowd.__file__).parent / "results"
ENGINES = sorted(RESULTS.glob("engine*.json"))


def read(file: Path) -> dict:
    return json.loads(file.read_text("utf-8"))


@pytest.mark.parametrize("file", ENGINES, ids=lambda file: file.stem)
def test_ratios_and_aims_of_an_engine_run_follow_from_its_speeds(file):
    content = read(file)
    found = figures(speeds_of(content))
    assert {key: content[key] for key in found} == found


@pytest.mark.parametrize("file", ENGINES, ids=lambda file: file.stem)
def test_the_tables_of_an_engine_run_are_made_of_its_speeds(file):
    speeds = speeds_of(read(file))
    text = file.with_suffix(".md").read_text("utf-8")
    assert run.table(speeds) in text
    assert joined_table(speeds) in text
    for what, reached, aim in run.aims(speeds):
        assert f"| {what} | {reached:.2f} | {aim} |" in text


def test_every_engine_run_has_its_tables():
    assert len(ENGINES) >= 4
    assert {file.stem for file in ENGINES} == {file.stem for file in RESULTS.glob("engine*.md")}


def test_the_crowds_table_is_made_of_its_figures():
    assert (RESULTS / "crowd.md").read_text("utf-8") == crowd.report(read(RESULTS / "crowd.json"))


def test_the_figures_and_tables_of_the_loop_follow_from_its_speeds():
    content = read(RESULTS / "tle.json")
    text = (RESULTS / "tle.md").read_text("utf-8")
    speeds = tle.Speeds.from_rows(content["speeds"])
    found = tle.figures(speeds)
    assert {key: content[key] for key in found} == found
    assert tle.table(speeds) in text
    assert tle.aims_table(tle.reached(speeds, AIMS)) in text
    counted = content["reference_tokens"]
    assert content["reference_seconds_a_token"] == {
        part: seconds / counted for part, seconds in content["reference_seconds"].items()
    }
