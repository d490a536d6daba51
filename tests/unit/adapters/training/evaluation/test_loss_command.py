"""Held-out loss: right to the last token, with intervals, and never measured twice."""

import json

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, LlamaForCausalLM

from adapters.training.data.examples import encode_all, read_examples
from adapters.training.evaluation import heldout_loss, loss_command
from adapters.training.evaluation.heldout_loss import loss_with_interval, response_losses
from adapters.training.run.card import Card


def test_loss_equals_the_models_own_item_by_item(tiny_base, maths_file):
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    items = encode_all(read_examples(maths_file, "maths"), tokenizer, 96)
    model = LlamaForCausalLM.from_pretrained(tiny_base, dtype=torch.float32).eval()
    expected = []
    with torch.inference_mode():
        for item in items:
            ids, labels = torch.tensor([item.input_ids]), torch.tensor([item.labels])
            tokens = len(item.input_ids) - item.prompt_tokens
            expected.append(model(input_ids=ids, labels=labels).loss.item() * tokens)
    assert response_losses(model, items) == pytest.approx(expected, rel=1e-4)


def test_interval_holds_the_mean_and_narrows_with_more_items():
    random = np.random.default_rng(1)
    tokens = random.integers(5, 50, size=400).astype(float)
    sums = tokens * random.uniform(0.5, 1.5, size=400)
    few, many = loss_with_interval(sums[:25], tokens[:25]), loss_with_interval(sums, tokens)
    assert few.low < few.mean < few.high
    assert many.high - many.low < (few.high - few.low) / 2
    assert many.mean == pytest.approx(sums.sum() / tokens.sum(), abs=1e-4)


def test_adapter_beats_its_base_on_what_it_learned_and_no_cell_is_measured_twice(
    tmp_path, train, tiny_base, maths_file, monkeypatch, capsys
):
    adapter, out = tmp_path / "sums", tmp_path / "table"
    assert train(adapter, steps=15, learning_rate=0.02) == 0
    command = ["--base-model", str(tiny_base), "--adapters", str(adapter), "--out", str(out)]
    command += ["--data", f"maths={maths_file}", "--dtype", "float32", "--threads", "1"]
    assert loss_command.main([*command, "--update-cards"]) == 0
    table = json.loads(out.with_suffix(".json").read_text())
    losses = table["losses"]
    assert losses["sums"]["maths"]["high"] < losses["base"]["maths"]["low"]
    assert table["tasks"]["maths"]["items"] == 20
    assert "**" in out.with_suffix(".md").read_text().split("| sums |")[1]
    card = Card.read(adapter)
    assert card.held_out["maths"]["adapter"].mean == losses["sums"]["maths"]["mean"]
    assert "## Held-out loss" in (adapter / "README.md").read_text()

    with monkeypatch.context() as patch:
        patch.setattr(heldout_loss, "_batch_losses", lambda *_: pytest.fail("measured again"))
        assert loss_command.main(command) == 0
    assert loss_command.main([*command, "--items", "5"]) == 0
    assert json.loads(out.with_suffix(".json").read_text())["tasks"]["maths"]["items"] == 5


@pytest.mark.parametrize(
    ("data", "adapter", "message"),
    [
        ("maths", "adapter", "write TASK=FILE"),
        ("poetry=x.jsonl", "adapter", "unknown task 'poetry'"),
        ("maths=FILE", "nothing", "holds no adapter_model.safetensors"),
    ],
)
def test_wrong_options_end_in_one_line(
    tmp_path, tiny_base, maths_file, capsys, data, adapter, message
):
    command = ["--base-model", str(tiny_base), "--adapters", str(tmp_path / adapter)]
    command += ["--out", str(tmp_path / "t"), "--data", data.replace("FILE", str(maths_file))]
    assert loss_command.main(command) == 1
    assert message in capsys.readouterr().err
