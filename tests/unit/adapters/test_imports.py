"""Light modules stay light: a command that only reads names loads no database and no tensors."""

import subprocess
import sys

import pytest

HEAVY = ("sqlalchemy", "numpy", "torch")


def loaded_by(module: str) -> set[str]:
    """The modules that a fresh interpreter has loaded once it has imported one."""
    command = [sys.executable, "-c", f"import sys, {module}; print(*sys.modules)"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["adapters", "adapters.errors", "adapters.routing_data"])
def test_names_and_errors_load_neither_database_nor_numbers(module: str) -> None:
    assert not loaded_by(module) & set(HEAVY)


def test_the_form_of_policies_loads_no_database() -> None:
    assert "sqlalchemy" not in loaded_by("router.policies.config")
