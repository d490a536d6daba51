"""Quoted figures are held to the committed results, both ways."""

import json
import subprocess
from decimal import Decimal

import pytest

from tools import figures

RESULT = {
    "aims": {"decode / stock": 6.5200081, "half": 0.125},
    "speeds": [
        {"row": "ours", "column": "decode, 8", "ratio": 0.8986},
        {"row": "ours", "column": "decode, 16", "ratio": 0.7046},
        {"row": "theirs", "column": "decode, 8", "ratio": 1.0},
    ],
    "rounds": [4, 2],
    "share": 0.262,
    "answers": 1850,
    "less": -0.0014,
    "flag": True,
    "name": "text",
}


@pytest.fixture
def check(tmp_path, monkeypatch, capsys):
    """Write a document beside the result, check it, give the lines that were printed."""
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "-q"], check=True)
    (tmp_path / "docs" / "adr").mkdir(parents=True)
    (tmp_path / "r.json").write_text(json.dumps(RESULT))
    (tmp_path / "untracked.json").write_text(json.dumps(RESULT))

    def run(text, comment=None, name="docs/a.md"):
        account = "" if comment is None else f"\n<!-- figures\n{comment}\n-->\n"
        (tmp_path / name).write_text(text + "\n" + account)
        subprocess.run(["git", "add", name, "r.json"], check=True)
        status = figures.main()
        lines = capsys.readouterr().out.splitlines()
        assert (status == 0) == lines[-1].endswith("every figure has its source")
        return [] if status == 0 else [line.removeprefix(f"{name}:") for line in lines]

    return run


@pytest.mark.parametrize(
    ("text", "account"),
    [
        ("It is 6.52 of it.", "6.52 = aims > decode / stock"),
        ("It is 6.5 times as fast.", "6.5 = aims > decode / stock"),
        ("It is seven times as fast.", "seven = aims > decode / stock"),
        ("It is .90 of it.", ".90 = speeds > ours > decode, 8 > ratio"),
        ("0.90 and 0.70", "0.90 0.70 = speeds > ours > {decode, 8; decode, 16} > ratio"),
        ("26 % and 1,850 s", "26 = share × 100\n1,850 = answers"),
        ("4 and 2 minutes", "4 2 = rounds > {0; 1}"),
        ("0.12, or 0.13", "0.12 0.13 = aims > {half; half}"),
        ("It is −0.001 there.", "−0.001 = less"),
        (
            "| a | b |\n|---|---|\n| 17 | 6.52 (1850) |",
            "6.52 = aims > decode / stock\n1850 = answers",
        ),
        ("1850 answers", "1850 = answers"),
        ("A bound of 6.52 s.", "settings: 6.52"),
    ],
)
def test_figures_that_agree_pass(check, text, account):
    assert check(text, account if account.startswith("settings") else f"r.json\n{account}") == []


@pytest.mark.parametrize(
    ("text", "account", "fault"),
    [
        ("It is 6.53 of it.", "6.53 = aims > decode / stock", "3: 6.53 is 6.52001 in r.json"),
        ("six times", "six = aims > decode / stock", "3: six is 6.52001"),
        ("6.520 s", "6.52 = aims > decode / stock", "1: no source is named for the figure 6.520"),
        ("26 %", "26 = share", "3: 26 is 0.262 in r.json"),
        ("0.001 less", "0.001 = less", "3: 0.001 is -0.0014"),
        ("6.5 s", "6.5 = aims > encode", "3: 6.5: r.json: 'aims > encode' has no 'encode'"),
        ("6.5 s", "6.5 = speeds > ours > ratio", "has no 'ratio'"),
        ("6.5 s", "6.5 = speeds > ours", "is no number"),
        ("6.5 s", "6.5 = name", "is no number"),
        ("1.0 s", "1.0 = flag", "is no number"),
        ("6.5 s", "6.5 = rounds > 2", "has no '2'"),
        ("nothing", "6.52 = aims > decode / stock", "3: no figure 6.52 stands above"),
        ("6.5 s", "6.5 6.5 = aims > decode / stock", "one key for each figure"),
        ("6.5 s", "6.5 is right", "neither a file, nor figures and a key, nor settings"),
    ],
)
def test_figures_that_do_not_agree_are_told(check, text, account, fault):
    assert any(fault in line for line in check(text, f"r.json\n{account}"))


@pytest.mark.parametrize("file", ["untracked.json", "none.json"])
def test_only_a_tracked_file_is_a_source(check, file):
    found = check("6.52 s", f"{file}\n6.52 = aims > decode / stock")
    assert found == [f"3: 6.52: no tracked file '{file}'"]


@pytest.mark.parametrize(
    ("text", "measured"),
    [
        ("takes 19 ms, 20 s or 3 minutes", ["19", "20", "3"]),
        ("41 to 55 ms; 100, 96 and 97 %", ["41", "55", "100", "96", "97"]),
        ("29–41 µs", ["29", "41"]),
        ("9.4 MiB, 3.5 GB, 20 tokens/s, 2 nats, 3 × as much", ["9.4", "3.5", "20", "2", "3"]),
        ("Half a minute, a quarter of a millisecond", ["half", "quarter"]),
        ("twice as slow, three times, ten CPU seconds", ["twice", "three", "ten"]),
        ("about 1e-5 and +0.2", ["1e-5", "0.2"]),
        ("eight requests, 24 rounds, 4-way mixtures, top-20, 135M, rank 16", []),
        ("vLLM 0.32.0, vLLM 0.32, PEFT 0.4 to 0.6, arXiv 2311.10847", []),
        ("`0.9` ```0.9``` [a](b-0.9.md) http://a.b:80/0.9 <!-- 0.9 -->", []),
        ("```\n0.9 s\n```\n\n    0.9 s\n    1.5 s\n", []),
        ("x\n\n    0.9 s\n\n    1.5 s\n\n2.5 s", ["2.5"]),
        (
            "| 1 | 2 s |\n|---|---|\n| 3 | 4 |\n| 5 | 6 of eight |\n| 7 | to 8, 9 |",
            ["2", "4", "8", "9"],
        ),
        ("at 14:30 on 22 November 2026, 127.0.0.1:8000", []),
        ("a tenth of the time, at one time, some times", []),
    ],
)
def test_what_counts_as_a_figure(check, text, measured):
    faults = check(text)
    assert sorted(fault.rpartition(" ")[2] for fault in faults) == sorted(measured)


def test_each_figure_needs_a_source_of_its_own(check):
    once = "r.json\n6.52 = aims > decode / stock"
    assert check("6.52 and 6.52", once) == ["1: no source is named for the figure 6.52"]
    assert check("6.52 and\n6.52", f"{once}\nsettings: 6.52") == []


def test_a_comment_is_for_what_stands_above_it(check):
    text = "6.52 s\n\n<!-- figures\nr.json\n6.52 = aims > decode / stock\n-->\n\n0.26 s"
    assert check(text) == ["8: no source is named for the figure 0.26"]
    assert check(text, "r.json\n0.26 = share") == []


def test_only_a_decision_record_that_says_so_quotes_what_was_not_kept(check):
    quoted = "not kept: 10.6 7.1"
    says = "It took 10.6 to 7.1 ms (the run is not\nkept)."
    assert check(says, quoted, "docs/adr/0001-a.md") == []
    assert "only a decision record" in check(says, quoted)[0]
    assert "only a decision record" in check("10.6 to 7.1 ms.", quoted)[0]


@pytest.mark.parametrize(
    ("text", "value"), [("−0.70", "-0.70"), ("1,850", "1850"), ("twelve", "12"), ("half", "0.5")]
)
def test_the_value_of_a_figure(text, value):
    assert figures.value_of(text) == Decimal(value)
