"""The report of make mutants: what is changed, how it is counted, and what it is called."""

import json
import subprocess
import tomllib
from pathlib import Path

import pytest

from tools import mutants

ROOT = Path(mutants.__file__).parents[1]


def tracked():
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [Path(line) for line in listed.stdout.splitlines()]


@pytest.mark.parametrize("name", mutants.packages())
def test_every_package_has_code_and_tests(name):
    package = mutants.packages()[name]
    files = tracked()
    assert any(mutants.is_changed(file, package) for file in files)
    for pattern in (*package.code, *package.but):
        assert any(file.match(pattern) for file in files), pattern
    for test in package.tests:
        assert any(test in (file.as_posix(), *map(str, file.parents)) for file in files), test


def test_what_a_package_leaves_out_is_not_changed():
    package = mutants.Package(("a/*.py",), ("tests",), ("a/b.py",))
    found = [
        name for name in ("a/a.py", "a/b.py", "b/a.py") if mutants.is_changed(Path(name), package)
    ]
    assert found == ["a/a.py"]


def test_a_packages_settings_are_mutmuts():
    package = mutants.Package(("a/*.py",), ("tests/a",), ("a/b.py",))
    told = tomllib.loads(package.configuration())["tool"]["mutmut"]
    assert told["only_mutate"] == ["a/*.py"]
    assert told["do_not_mutate"] == ["a/b.py"]
    assert told["pytest_add_cli_args_test_selection"] == ["tests/a"]
    assert told["source_paths"] == list(mutants.SOURCES)


@pytest.mark.parametrize(
    ("key", "function"),
    [
        ("router.policies.base.x_softmax__mutmut_3", "router.policies.base.softmax"),
        ("server.access.keys.x__private__mutmut_12", "server.access.keys._private"),
        ("a.b.xǁResidencyǁacquire__mutmut_1", "a.b.Residency.acquire"),
        ("a.b.xǁResidencyǁ__init____mutmut_1", "a.b.Residency.__init__"),
    ],
)
def test_changes_are_named_by_their_function(key, function):
    assert mutants.function_of(key) == function


def test_a_change_is_the_lines_that_differ():
    head = "# a: survived\n--- a.py\n+++ a.py\n@@ -1,2 +1,2 @@\n"
    shown = f"{head} def f():\n-    return 1\n+    return 2"
    assert list(mutants.changed_lines(shown)) == ["- return 1", "+ return 2"]


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (0, "survived"),
        (1, "killed"),
        (33, "no tests"),
        (None, "not run"),
        (-24, "timeout"),
        (255, "broken"),
        (-11, "broken"),
    ],
)
def test_exit_codes_are_told_apart(code, status):
    assert mutants.status_of(code) == status


def test_what_was_not_run_or_has_no_test_is_not_noticed():
    counts = {"killed": 6, "timeout": 1, "survived": 1, "no tests": 1, "not run": 1}
    assert mutants.Outcome(counts, (), 1.0).score == pytest.approx(0.7)
    assert mutants.Outcome({}, (), 1.0).score == 0


def test_an_unknown_package_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        mutants.main(["gatez", "--out", str(tmp_path / "out")])
    assert "no package 'gatez'; there are policies, options" in capsys.readouterr().err


def test_the_exit_status_and_the_result_say_what_lives(tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    living = mutants.Living("a.f", ("- 1", "+ 2"), "survived", "")
    outcomes = {
        "gates": mutants.Outcome({"killed": 99, "survived": 1}, (living,), 1.0),
        "masks": mutants.Outcome({"killed": 20}, (), 2.0),
        "merge": mutants.Outcome({"killed": 9, "survived": 1}, (), 2.0),
    }
    monkeypatch.setattr(mutants, "measured", lambda name, package, minutes: outcomes[name])
    monkeypatch.setattr(mutants, "WORK", tmp_path / "work")
    earlier = tmp_path / "work" / "masks" / "state"
    earlier.parent.mkdir(parents=True)
    earlier.touch()
    assert mutants.main(["masks", "--out", str(out)]) == 0
    assert mutants.main(["gates", "--out", str(out)]) == 1, "a change lives without a reason"
    assert mutants.main(["merge", "--out", str(out)]) == 1, "below the aim"
    assert earlier.exists()
    assert mutants.main(["masks", "--anew", "--out", str(out)]) == 0
    assert not earlier.exists()
    assert {file.stem for file in out.iterdir()} == set(outcomes)
    content = json.loads((out / "gates.json").read_text())
    assert content["living"][0]["function"] == "a.f"
    assert content["score"] == 0.99
    assert content["commit"]
    assert "gates: 99.0% of 100 changes noticed, 1 live, 1 of them" in capsys.readouterr().out


def test_a_copy_follows_what_git_tracks(tmp_path):
    package = mutants.packages()["gates"]
    mutants.copied(package, tmp_path)
    file = tmp_path / "server" / "engine" / "bank" / "gates.py"
    assert file.read_text() == (ROOT / "server/engine/bank/gates.py").read_text()
    kept = file.stat().st_mtime_ns
    assert not mutants.copied(package, tmp_path)
    other = tmp_path / "router" / "mixture.py"
    other.write_text("changed")
    mutants.copied(package, tmp_path)
    assert other.read_text() != "changed"
    assert file.stat().st_mtime_ns == kept
    (tmp_path / "tests" / "conftest.py").write_text("changed")
    assert mutants.copied(package, tmp_path), "a test is another one"
    assert "[tool.mutmut]" in (tmp_path / "pyproject.toml").read_text()


def test_what_lived_is_tried_again_and_nothing_else(tmp_path):
    meta = tmp_path / "mutants" / "a" / "b.py.meta"
    meta.parent.mkdir(parents=True)
    codes = {"killed": 1, "lived": 0, "timeout": 36, "no tests": 33, "not run": None}
    meta.write_text(json.dumps({"hash": 5, "exit_code_by_key": codes}))
    stats = tmp_path / "mutants" / "mutmut-stats.json"
    stats.write_text("{}")
    mutants.forget_what_lived(tmp_path)
    assert json.loads(meta.read_text()) == {
        "hash": 5,
        "exit_code_by_key": {**dict.fromkeys(codes), "killed": 1},
    }
    assert not stats.exists()
