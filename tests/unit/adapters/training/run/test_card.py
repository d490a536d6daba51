"""Cards: those that come along are read as they were written, and a method's own keys are kept."""

import json
from pathlib import Path

import pytest

from adapters.training.run.card import CARD_FILE, Card

DEMOS = sorted((Path(__file__).parents[5] / "examples" / "adapters").glob("*/card.json"))


@pytest.mark.parametrize("path", DEMOS, ids=lambda path: path.parent.name)
def test_a_demos_card_and_its_prose_are_what_is_in_the_repository(path):
    card = Card.read(path.parent)
    kept = json.loads(path.read_text())
    assert card.model_dump(mode="json") == {**kept, "product": "A LoRA adapter for"}
    assert card.prose() == path.with_name("README.md").read_text()


def test_a_card_keeps_what_the_method_alone_was_to_know(tmp_path, train):
    out = tmp_path / "sums"
    assert train(out, method="lori_d", a_seed=5, steps=2) == 0
    kept = json.loads((out / CARD_FILE).read_text())
    assert (kept["recipe"]["a_seed"], kept["inputs"]) == (5, {})
    assert "| a_seed | 5 |" in (out / "README.md").read_text()
    assert train(tmp_path / "again", method="lori_d", reuse_a=out, steps=2) == 0
    again = json.loads((tmp_path / "again" / CARD_FILE).read_text())
    assert list(again["inputs"]) == ["reuse_a"]
    assert not again["recipe"].keys() & {"a_seed", "reuse_a", "mask"}
