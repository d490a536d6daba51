"""The C++ compiler of this machine: what the bank's kernel and the base model are compiled with."""

import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

Compiler = tuple[str, ...]
"""A command that compiles C++: a program, and arguments that go first."""


def find_compiler() -> Compiler | None:
    """The C++ compiler that ``CXX`` names, with arguments if it has any, or else ``g++``.

    Returns:
        None if there is none, or what is named does not run.
    """
    command = _command(os.environ.get("CXX", "").strip() or "g++")
    program = None if command is None else shutil.which(command[0])
    if command is None or program is None:
        return None
    compiler = (program, *command[1:])
    return compiler if output(compiler, "-E", "-x", "c++", os.devnull) else None


def _command(named: str) -> Compiler | None:
    if shutil.which(named) is not None:
        return (named,)  # a path with blanks
    try:
        return tuple(shlex.split(named)) or None
    except ValueError:  # a quotation mark without its fellow
        return None


def output(compiler: Compiler, *arguments: str) -> str:
    """What the compiler prints; empty if it fails."""
    command = [*compiler, *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, errors="replace"
        )
    except OSError:
        return ""
    return done.stdout if done.returncode == 0 else ""


def one_word(compiler: Compiler, folder: Path) -> str:
    """A program that is this compiler, for those who run ``CXX`` as one word, as torch does.

    Args:
        compiler: the compiler.
        folder: where a script is written if the compiler has arguments.
    """
    if len(compiler) == 1:
        return compiler[0]
    text = f'#!/bin/sh\nexec {shlex.join(compiler)} "$@"\n'
    script = folder / f"c++-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    with tempfile.NamedTemporaryFile("w", dir=folder, delete=False) as fresh:
        fresh.write(text)
    Path(fresh.name).chmod(0o700)
    Path(fresh.name).replace(script)
    return str(script)
