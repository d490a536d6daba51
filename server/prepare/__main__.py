"""Prepare from a shell: ``python -m server.prepare [--print base|encoder] [--quiet]``."""

import argparse
import sys

from adapters.printable import printable
from server.prepare import PrepareError, base_model_path, encoder_path, prepare


def main(arguments: list[str] | None = None) -> int:
    """Prepare both defaults, then write where they lie to the standard output."""
    parser = argparse.ArgumentParser(
        prog="python -m server.prepare",
        description="Put the default base model and encoder into the cache folder.",
    )
    parser.add_argument(
        "--print", choices=["base", "encoder"], help="print the folder of this one alone"
    )
    parser.add_argument("--quiet", action="store_true", help="report no progress")
    options = parser.parse_args(arguments)
    try:
        prepare(quiet=options.quiet)
    except PrepareError as error:
        sys.stderr.write(f"error: {printable(error)}\n")
        return 1
    paths = {"base": base_model_path(), "encoder": encoder_path()}
    if options.print:
        sys.stdout.write(f"{paths[options.print]}\n")
    else:
        sys.stdout.writelines(f"{name:8} {path}\n" for name, path in paths.items())
    return 0


if __name__ == "__main__":
    sys.exit(main())
