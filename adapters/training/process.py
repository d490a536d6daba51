"""The process of a training command: how it starts, and how each of its endings is one line.

Its libraries take seconds to import, during which Ctrl-C is to end it as quietly as later. What a
user can mend is one line on standard error, without a traceback.
"""

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from adapters.errors import AdapterError
from adapters.printable import printable

STOPPED = 130
"""The exit status after Ctrl-C, as shells have it."""

_FOR_TRAINING = ("datasets", "trl")
"""Packages of requirements.dev.lock, which `make serve` alone does not install."""


def start(module: str, *arguments: object) -> int:
    """Import a module and run its ``main`` with the arguments; returns the exit status."""
    try:
        return _run(module, arguments)
    except ModuleNotFoundError as error:
        if error.name not in _FOR_TRAINING:
            raise
        sys.stderr.write(
            f"error: this needs the package {error.name}, which serving does without: "
            "`make venv` installs all that training needs\n"
        )
        return 1


def _run(module: str, arguments: tuple[object, ...]) -> int:
    try:
        main = import_module(module).main
    except KeyboardInterrupt:
        sys.stderr.write("stopped before it began\n")
        return STOPPED
    return int(main(*arguments))


def status_of(work: Callable[[], object], writes_to: Path | None, stopped: str) -> int:
    """Do a command's work; returns its exit status, 0, 1 or (at Ctrl-C) 130.

    Args:
        work: what the command does.
        writes_to: the path to name when a failure of the file system names none.
        stopped: what to say at Ctrl-C, of what is left and how to go on.
    """
    try:
        work()
    except AdapterError as error:
        sys.stderr.write(f"error: {printable(error)}\n")
        return 1
    except OSError as error:
        reason = f"{error.filename or writes_to}: {error.strerror or error}"
        sys.stderr.write(f"error: {printable(reason)}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write(f"{stopped}\n")
        return STOPPED
    return 0
