"""What make soak keeps of its parts."""

import json

import pytest

from tests.soak import __main__ as soak


@pytest.fixture
def parts(monkeypatch):
    made = {
        "good": soak.Part("what passes", ("python", "-c", "print('12 passed in {minutes}s')")),
        "bad": soak.Part("what fails", ("python", "-c", "import sys; print('1 | 2'); sys.exit(1)")),
    }
    monkeypatch.setattr(soak, "PARTS", made)
    return made


def kept(folder):
    return json.loads((folder / "soak.json").read_text())


def test_a_part_keeps_its_row_until_it_is_run_again(parts, tmp_path):
    assert soak.main(["good", "--minutes", "3", "--out", str(tmp_path)]) == 0
    first = kept(tmp_path)
    assert first["good"]["said"] == "12 passed in 3s"
    assert first["good"]["passed"]
    assert first["good"]["commit"]
    assert soak.main(["bad", "--out", str(tmp_path)]) == 1
    assert list(kept(tmp_path)) == ["good", "bad"]
    assert kept(tmp_path)["good"] == first["good"]
    table = (tmp_path / "soak.md").read_text()
    assert "| good | what passes | passed | 12 passed in 3s |" in table
    assert "| bad | what fails | **failed** | 1 \\| 2 |" in table


def test_a_failure_shows_what_was_said(parts, tmp_path, capsys):
    assert soak.main(["--out", str(tmp_path)]) == 1
    assert "1 | 2" in capsys.readouterr().out


def test_an_unknown_part_is_refused(parts, tmp_path, capsys):
    with pytest.raises(SystemExit):
        soak.main(["worse", "--out", str(tmp_path)])
    assert "no part 'worse'; there are good, bad" in capsys.readouterr().err
    assert not (tmp_path / "soak.json").exists()


def test_counts_are_the_summary_where_there_are_any():
    assert soak.summary(["begun", "    12 added", "     3 killed"]) == "12 added, 3 killed"
    assert soak.summary(["begun", "7 passed in 3s"]) == "7 passed in 3s"
    assert soak.summary([]) == ""


def test_every_part_names_what_there_is():
    for part in soak.PARTS.values():
        for word in part.command:
            assert not word.startswith("tests/") or (soak.ROOT / word).is_file(), word
            module = soak.ROOT / (word.replace(".", "/") + ".py")
            assert not word.startswith("tests.") or module.is_file(), word
