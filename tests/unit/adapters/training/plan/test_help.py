"""The help of a method lists what its recipe may say."""

import pytest

from adapters.training.command import main
from adapters.training.job import Job
from adapters.training.methods import METHODS, method_of
from adapters.training.recipe import Recipe


@pytest.mark.parametrize("name", METHODS)
def test_help_has_every_key_of_the_method_and_no_other(name, capsys):
    with pytest.raises(SystemExit) as ended:
        main(name, ["--help"])
    assert ended.value.code == 0
    _, keys = capsys.readouterr().out.split("keys of a recipe, with their defaults:\n")
    shown = {line.split()[0].split("=")[0] for line in keys.splitlines() if line[2:3].strip()}
    method = method_of(name)
    every = Job.model_fields | Recipe.model_fields | method.keys.model_fields
    assert shown == every.keys() - method.refused.keys()


def test_help_tells_defaults_choices_and_meaning(capsys):
    with pytest.raises(SystemExit):
        main("lora", ["--help"])
    keys = capsys.readouterr().out.partition("keys of a recipe")[2]
    assert "  rank=8                rank of the adapter\n" in keys
    assert "cosine or constant or linear: of the learning rate" in keys
    assert "targets=[q_proj, k_proj, v_proj, o_proj]\n" + " " * 24 + "modules" in keys
    assert max(map(len, keys.splitlines())) <= 100
