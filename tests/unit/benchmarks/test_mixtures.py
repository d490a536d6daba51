"""The tables of make bench-mixtures: ratios within a round, within an engine and between two."""

from benchmarks import mixtures
from benchmarks.engine.cases import COLUMNS


def speeds(base, mixed):
    """The same numbers in each column."""
    rows = {mixtures.BASE.title: base, **{row.title: mixed for row in mixtures.MIXED}}
    return {(row, one.title): list(each) for row, each in rows.items() for one in COLUMNS}


FAST = speeds([10.0, 20.0, 40.0], [9.0, 10.0, 38.0])
SLOW = speeds([5.0, 40.0, 10.0], [3.0, 5.0, 19.0])


def test_a_ratio_is_taken_within_its_round():
    told = mixtures.report({"this checkout, float32": FAST}, "make bench-mixtures")
    assert "(0.90: 0.90, 0.50, 0.95)" in told
    assert "3 rounds" in told
    assert " / " not in told.splitlines()[-1]
    for columns in mixtures.medians(FAST).values():
        assert set(columns.values()) == {0.9}


def test_two_engines_are_held_against_each_other_row_by_row():
    both = {"this checkout, float32": FAST, "abc, bfloat16": SLOW}
    told = mixtures.report(both, "make bench-mixtures").splitlines()
    begin = told.index("## This checkout / abc, bfloat16")
    base, *mixed = told[begin + 6 :]
    assert base.count("2.00: 2.00, 0.50, 4.00") == len(COLUMNS)
    assert all(row.count("2.00: 3.00, 2.00, 2.00") == len(COLUMNS) for row in mixed)
    assert len(mixed) == len(mixtures.MIXED)
