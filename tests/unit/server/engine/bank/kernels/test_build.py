"""The kernel is compiled by whatever compiler there is, wherever something can be written."""

import logging
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from server.engine.bank.kernels import build as under_test
from server.engine.bank.kernels.build import (
    branch_of,
    branches_here,
    build,
    library_path,
)
from server.engine.machine.cache_folder import usable
from server.engine.machine.compiler import find_compiler, one_word
from server.prepare import cache_dir


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that runs its arguments, as ccache does, and notes that it did."""
    path = script(tmp_path / "bin" / "launch", f'echo "$*" >> {tmp_path}/runs\nexec "$@"')
    monkeypatch.setenv("PATH", f"{path.parent}{os.pathsep}{os.environ['PATH']}")
    return path


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ("", ("g++",)),
        ("  ", ("g++",)),
        ("g++", ("g++",)),
        ("launch g++", ("launch", "g++")),
        ("  launch   g++ -pipe ", ("launch", "g++", "-pipe")),
        ("g++ '-DTEXT=two words'", ("g++", "-DTEXT=two words")),
    ],
)
def test_a_compiler_may_have_arguments(launcher, monkeypatch, named: str, expected) -> None:
    monkeypatch.setenv("CXX", named)
    found = find_compiler()
    assert found is not None
    assert (Path(found[0]).name, *found[1:]) == expected


def test_a_path_may_have_blanks(tmp_path, monkeypatch) -> None:
    path = script(tmp_path / "my compiler" / "g++", 'exec g++ "$@"')
    monkeypatch.setenv("CXX", str(path))
    assert find_compiler() == (str(path),)


@pytest.mark.parametrize(
    "named", ["no-such-compiler", "launch no-such-compiler", "g++ --no-such-flag", "'g++", "false"]
)
def test_what_does_not_run_is_no_compiler(launcher, monkeypatch, caplog, named: str) -> None:
    monkeypatch.setenv("CXX", named)
    with caplog.at_level(logging.WARNING):
        assert find_compiler() is None
        assert build(cache_dir() / "kernels") is None
    assert repr(named) in caplog.text
    assert "plain torch" in caplog.text


def test_one_word_runs_the_same_compiler(launcher, tmp_path, monkeypatch) -> None:
    """Torch looks for a program of the whole name."""
    monkeypatch.setenv("CXX", "launch g++ '-DTEXT=two words'")
    compiler = find_compiler()
    assert compiler is not None
    word = one_word(compiler, tmp_path)
    source = tmp_path / "a.cpp"
    source.write_text("#define SHOW(x) #x\n#define TWICE(x) SHOW(x)\nauto text = TWICE(TEXT);")
    done = subprocess.run(
        [word, "-E", "-P", str(source)], capture_output=True, text=True, check=True
    )
    assert '"two words"' in done.stdout
    assert (tmp_path / "runs").is_file()
    assert one_word(compiler, tmp_path) == word
    assert one_word(("/usr/bin/g++",), tmp_path) == "/usr/bin/g++"


def test_the_kernel_compiles_through_a_launcher_into_a_folder_of_its_own(
    launcher, tmp_path, monkeypatch, caplog
) -> None:
    """All at once, since it takes half a minute: nothing can be written to the cache folder, and
    two ask for it at the same time."""
    monkeypatch.setenv("CXX", "launch g++")
    monkeypatch.setattr(under_test, "FLAGS", tuple(f for f in under_test.FLAGS if f != "-O3"))
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.WARNING), ThreadPoolExecutor(2) as both:
        usable(tmp_path / "file" / "kernels")  # each process finds a folder of its own
        kernel, same = both.map(build, 2 * [tmp_path / "file" / "kernels"])
    assert kernel is not None
    assert same == kernel
    assert kernel.is_file()
    assert branch_of(kernel) == branches_here()[0]
    assert str(kernel.parent) in caplog.text
    assert build(tmp_path / "file" / "kernels") == kernel
    assert (tmp_path / "runs").read_text().count("-shared") == 1, "compiled once"


def test_a_kernel_is_found_where_nothing_can_be_written(tmp_path, monkeypatch) -> None:
    """As in an image whose file system is read-only."""
    compiler = find_compiler()
    assert compiler is not None
    folder = tmp_path / "kernels"
    folder.mkdir()
    there = library_path(folder, compiler)
    there.write_bytes(b"compiled before")
    monkeypatch.setattr(under_test, "usable", None)
    assert build(folder) == there


def test_branches_have_files_of_their_own(tmp_path) -> None:
    compiler = find_compiler()
    assert compiler is not None
    names = [library_path(tmp_path, compiler, branch).name for branch in (None, *branches_here())]
    assert len(set(names)) == len(names)
