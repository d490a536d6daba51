"""``python -m adapters.training METHOD …`` trains: see ``command.py``.

Beside it are ``adapters.training.evaluation`` (measure), ``adapters.training.methods.lori`` (masks)
and ``adapters.training.data.texts`` (the texts that a centroid is made from).
"""

import sys
from collections.abc import Sequence

from adapters.printable import printable
from adapters.training.errors import TrainingError
from adapters.training.methods import METHODS, check_method
from adapters.training.process import start

USAGE = f"""\
usage: loralloy train METHOD [--config RECIPE] [--set KEY=VALUE] --out FOLDER

Train an adapter, or a base model, on the answers in your data.

methods: {", ".join(METHODS)}
Their options and the keys of a recipe: loralloy train METHOD --help
"""


def main(arguments: Sequence[str]) -> int:
    """Train by the method that comes first; returns the exit status."""
    if not arguments or arguments[0] in ("-h", "--help"):
        (sys.stdout if arguments else sys.stderr).write(USAGE)
        return 0 if arguments else 2
    method, *further = arguments
    try:
        check_method(method)
    except TrainingError as error:
        sys.stderr.write(f"error: {printable(error)}\n")
        return 1
    return start("adapters.training.command", method, further)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
