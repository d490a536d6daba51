"""Starts a command whose libraries take seconds to import; Ctrl-C meanwhile ends it in one line."""

import sys
from importlib import import_module


def start(module: str, *told: object) -> int:
    """Import a module and run its ``main``; returns the exit status."""
    try:
        main = import_module(module).main
    except KeyboardInterrupt:
        sys.stderr.write("stopped before it began\n")
        return 130
    return int(main(*told))
