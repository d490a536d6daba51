"""Losses and data beside the usual: DPO, soft_sft, a dataset's folder, packing, all weights."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file
from transformers import LlamaForCausalLM

from adapters.training.run.card import Card
from tests.support.training import SMALL, trainer


def rows(path, found):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in found))
    return path


def logged(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.fixture
def pairs(tmp_path, tiny_base):
    found = [
        {"prompt": f"What is {n} plus 1?", "chosen": f"{n + 1}", "rejected": "No idea"}
        for n in range(20)
    ]
    return trainer(tiny_base, rows(tmp_path / "pairs.jsonl", found))


@pytest.mark.parametrize("method", ["lora", "lori_d"])
def test_dpo_begins_at_the_loss_of_a_coin_and_trains_no_frozen_a(tmp_path, pairs, method):
    settings = {"task": "preference", "loss": "dpo", "beta": 0.1, "learning_rate": 0.01}
    assert pairs(tmp_path / "out", method=method, **settings) == 0
    entries = logged(tmp_path / "out")
    assert entries[0]["loss"] == pytest.approx(math.log(2), rel=1e-3)
    assert entries[-1]["loss"] < entries[0]["loss"]
    found = load_file(tmp_path / "out" / "adapter_model.safetensors")
    assert all(".ref." not in name for name in found)
    if method == "lori_d":
        assert pairs(tmp_path / "same", method=method, **settings | {"steps": 2}) == 0
        less = load_file(tmp_path / "same" / "adapter_model.safetensors")
        assert all(torch.equal(found[name], less[name]) for name in found if "lora_A" in name)
        assert not any(torch.equal(found[name], less[name]) for name in found if "lora_B" in name)


def test_soft_sft_moves_less_than_sft_with_a_large_beta(tmp_path, train):
    for name, more in (("sft", {}), ("soft", {"loss": "soft_sft", "beta": 50})):
        assert train(tmp_path / name, learning_rate=0.02, **more) == 0
    plain, soft = (logged(tmp_path / name) for name in ("sft", "soft"))
    moved = [one["loss"] for one in plain]
    assert moved[-1] < moved[0]
    assert soft[0]["loss"] == pytest.approx(2 / 50 * math.log(2), rel=1e-3)


def test_a_datasets_folder_trains_what_its_file_does(tmp_path, train, maths_file):
    folder = tmp_path / "sums"
    found = [json.loads(line) for line in maths_file.read_text().splitlines()]
    rows(folder / "train.jsonl", ({"q": row["question"], "answer": row["answer"]} for row in found))
    data = f"[{{hub: {folder}, rename: {{q: question}}}}]"
    assert train(tmp_path / "hub", data=data) == 0
    assert train(tmp_path / "file") == 0
    one, other = (
        load_file(tmp_path / name / "adapter_model.safetensors") for name in ("hub", "file")
    )
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert list(Card.read(tmp_path / "hub").data.files) == ["sums"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("[{hub: nowhere/at-all}]", "cannot load the dataset nowhere/at-all"),
        ("[{hub: FOLDER, split: other}]", "cannot load the dataset"),
        ("[{hub: FOLDER}]", "row 1: field 'question' is missing"),
        ("[]", "data: "),
    ],
)
def test_datasets_that_do_not_do_end_in_one_line(tmp_path, train, capsys, data, message):
    rows(tmp_path / "folder" / "train.jsonl", [{"q": "x", "answer": "y"}])
    given = data.replace("FOLDER", str(tmp_path / "folder"))
    assert train(tmp_path / "out", data=given) == 1
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_packing_trains(tmp_path, train):
    assert train(tmp_path / "packed", packing="true", steps=3) == 0
    assert len(logged(tmp_path / "packed")) == 3


def test_full_fine_tuning_makes_a_model_that_loads(tmp_path, train, tiny_base):
    settings = {**SMALL, "learning_rate": 1e-3}
    assert train(tmp_path / "whole", method="full", **settings) == 0
    model = LlamaForCausalLM.from_pretrained(tmp_path / "whole", dtype=torch.float32)
    before = LlamaForCausalLM.from_pretrained(tiny_base, dtype=torch.float32)
    ids = torch.arange(1, 9)[None]
    assert not torch.allclose(model(ids).logits, before(ids).logits, atol=1e-3)
    assert "All weights of" in (tmp_path / "whole" / "README.md").read_text()


def test_epochs_are_steps_over_the_examples(tmp_path, train):
    assert train(tmp_path / "out", steps=None, epochs=0.5, warmup_steps=0) == 0
    assert Card.read(tmp_path / "out").steps == 5, "twenty examples, two a step, half of them"


def test_the_curve_and_the_card_tell_the_run(tmp_path, train):
    assert train(tmp_path / "out") == 0
    assert (tmp_path / "out" / "loss.svg").read_text().startswith("<?xml")
    card = Card.read(tmp_path / "out")
    assert card.peak_memory is not None
    assert card.peak_memory > 2**20
    assert card.recipe.seed == 0
