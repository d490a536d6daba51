"""The one command: its methods, and what it says of a name that none has."""

import pytest

from adapters.training.__main__ import main
from adapters.training.methods import METHODS
from tests.support.cli import loralloy


def test_help_lists_every_method(capsys):
    assert main(["--help"]) == 0
    assert f"methods: {', '.join(METHODS)}\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "status", "line"),
    [
        ([], 2, "usage: loralloy train METHOD"),
        (["lorax"], 1, f"error: there is no method 'lorax'; there are {', '.join(METHODS)}"),
    ],
)
def test_without_a_method_that_there_is_it_says_which_there_are(arguments, status, line, capsys):
    assert main(arguments) == status
    assert line in capsys.readouterr().err


def test_the_options_after_the_method_are_its_own(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["lori_s", "--help"])
    assert ended.value.code == 0
    assert "usage: loralloy train lori_s " in capsys.readouterr().out


def test_loralloy_train_runs_it():
    helped, unknown = loralloy("train", "--help"), loralloy("train", "lorax")
    assert (helped.returncode, unknown.returncode) == (0, 1)
    assert f"methods: {', '.join(METHODS)}\n" in helped.stdout
    assert unknown.stderr.startswith("error: there is no method 'lorax'")
