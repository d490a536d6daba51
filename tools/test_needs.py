"""Says what ``make test`` needs and this machine lacks: ``python -m tools.test_needs``.

Without a C++ compiler the kernel's tests fail, and without PostgreSQL's programs its tests would be
left out without a word, so that both are asked for before the first test.
"""

import sys
from pathlib import Path

from server.engine.machine.compiler import find_compiler
from tests.support.postgres import DEBIAN, find_programs


def missing(postgresql: Path = DEBIAN) -> dict[str, str]:
    """What is missing, and the Debian package that has it.

    Args:
        postgresql: where the versions of Debian's PostgreSQL lie.
    """
    found = {
        "a C++ compiler": ("g++", find_compiler() is not None),
        "PostgreSQL's programs": ("postgresql", find_programs(postgresql) is not None),
    }
    return {what: package for what, (package, is_there) in found.items() if not is_there}


def main(postgresql: Path = DEBIAN) -> int:
    """Print one line if something is missing, and return 1."""
    lacking = missing(postgresql)
    if not lacking:
        return 0
    sys.stderr.write(
        f"make test needs {' and '.join(lacking)}, which are not here: on Debian, "
        f"apt-get install {' '.join(lacking.values())}\n"
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
