"""Two steps of every bundled recipe on a tiny base: each by one method, turn and turn about."""

import json
from itertools import count
from pathlib import Path

import pytest

from adapters.training import command
from adapters.training.data.templates import TEMPLATES
from adapters.training.methods import method_of
from adapters.training.methods.lori import extract
from adapters.training.plan.recipe_file import bundled, plan
from adapters.training.run.card import Card
from tests.support.training import methods_of

TURN = dict(zip(bundled(), count(), strict=False))
QUIETLY = ("--quiet", "--threads", "1")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Four rows for each task."""
    folder = tmp_path_factory.mktemp("rows")
    for task, template in TEMPLATES.items():
        rows = [
            {
                field: ["one", "two"] if field in template.lists else f"{field} {number}"
                for field in template.fields
            }
            for number in range(4)
        ]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{task}.jsonl").write_text(text)
    return folder


def dense_of(recipe, folder: Path, train) -> Path:
    """A LoRI-D adapter of a recipe's shape, with its mask."""
    out = folder / "dense"
    shape = {
        "rank": recipe.rank,
        "lora_alpha": recipe.lora_alpha,
        "targets": f"[{', '.join(recipe.targets)}]",
    }
    assert train(out, method="lori_d", steps=2, **shape) == 0
    assert extract.main([str(out)]) == 0
    return out


@pytest.mark.parametrize("name", bundled())
def test_a_recipe_runs(tmp_path, train, tiny_base, data, name):
    methods = methods_of(name)
    method = method_of(methods[TURN[name] % len(methods)])
    masked = "mask" in method.keys.model_fields
    continual = "continual" in name
    anything = ["base_model=x", *(["mask=x"] if masked else [])]
    planned = plan(method, name, [*anything, *(["start_from=x"] if continual else [])])
    given = {"base_model": tiny_base, "data": f"[{data / planned.job.task}.jsonl]"}
    given |= {"steps": 2, "epochs": "null", "batch_size": 2, "warmup_steps": 0}
    if masked or continual:
        dense = dense_of(planned.recipe, tmp_path, train)
        given |= {"mask": dense / "masks" / "0.9_mask.safetensors"} if masked else {}
        given |= {"start_from": dense} if continual else {}
    settings = [f"--set={key}={value}" for key, value in given.items()]
    out = tmp_path / "out"
    assert (
        command.main(method.name, ["--config", name, *settings, "--out", str(out), *QUIETLY]) == 0
    )
    card = Card.read(out)
    assert (card.method, card.steps) == (method.name, 2)
