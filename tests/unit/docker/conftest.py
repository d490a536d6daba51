"""Tools of the virtual environment, as the Makefile runs them."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def tool():
    """Run a tool that lies beside the interpreter, from the repository's root."""

    def run(name, *arguments):
        command = [str(Path(sys.executable).parent / name), *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    return run
