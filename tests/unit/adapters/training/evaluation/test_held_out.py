"""Held-out loss: right to the last token, with intervals, into cards, and never measured twice."""

import json
import shutil

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, LlamaForCausalLM

from adapters.training.data.examples import encode, encode_all, read_examples
from adapters.training.evaluation import heldout_loss
from adapters.training.evaluation.command import main
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
    command += ["--tasks", f"maths={maths_file}", "--dtype", "float32", "--threads", "1"]
    command += ["--metrics", "held_out", "--resume"]
    assert main([*command, "--update-cards"]) == 0
    report = json.loads(out.with_suffix(".json").read_text())
    losses = {name: row["maths"]["held_out"] for name, row in report["figures"].items()}
    assert losses["sums"]["high"] < losses["base"]["low"]
    assert report["tasks"]["maths"]["items"] == 20
    assert report["where"] == "tiny-llama"
    assert "**" in out.with_suffix(".md").read_text().split("| sums |")[1]
    card = Card.read(adapter)
    assert card.held_out["maths"]["adapter"].mean == losses["sums"]["mean"]
    assert card.held_out["maths"]["base"].mean == losses["base"]["mean"]
    assert "## Held-out loss" in (adapter / "README.md").read_text()

    with monkeypatch.context() as patch:
        patch.setattr(heldout_loss, "_batch_losses", lambda *_: pytest.fail("measured again"))
        assert main(command) == 0
    assert main([*command, "--items", "5"]) == 0
    assert json.loads(out.with_suffix(".json").read_text())["tasks"]["maths"]["items"] == 5


def test_an_adapter_that_was_trained_anew_is_measured_anew(
    tmp_path, train, tiny_base, maths_file, capsys
):
    adapter, out = tmp_path / "sums", tmp_path / "table"
    command = ["--base-model", str(tiny_base), "--adapters", str(adapter), "--out", str(out)]
    command += ["--tasks", f"maths={maths_file}", "--dtype", "float32", "--threads", "1"]
    command += ["--metrics", "held_out", "--resume"]
    figures = []
    for steps in (2, 6):
        if adapter.exists():
            shutil.rmtree(adapter)
        assert train(adapter, steps=steps, learning_rate=0.02) == 0
        assert main(command) == 0
        figures.append(json.loads(out.with_suffix(".json").read_text())["figures"])
    assert figures[0]["base"] == figures[1]["base"]
    assert figures[0]["sums"] != figures[1]["sums"]


def test_longer_items_are_left_out_before_items_are_counted(tmp_path, tiny_base, maths_file):
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    examples = read_examples(maths_file, "maths")
    lengths = [len(encode(example, tokenizer).input_ids) for example in examples]
    longest = sorted(lengths)[9]
    items = encode_all(examples, tokenizer, longest)[:6]
    out = tmp_path / "short"
    command = ["--base-model", str(tiny_base), "--tasks", f"maths={maths_file}", "--items", "6"]
    command += ["--item-tokens", str(longest), "--metrics", "held_out", "--dtype", "float32"]
    assert main([*command, "--out", str(out)]) == 0
    found = json.loads(out.with_suffix(".json").read_text())
    model = LlamaForCausalLM.from_pretrained(tiny_base, dtype=torch.float32).eval()
    tokens = [len(item.input_ids) - item.prompt_tokens for item in items]
    expected = response_losses(model, items).sum() / sum(tokens)
    assert found["figures"]["base"]["maths"]["held_out"]["mean"] == pytest.approx(
        expected, abs=1e-4
    )
    assert (found["item_tokens"], found["tasks"]["maths"]["items"]) == (longest, 6)
    assert f"that fit into {longest} tokens" in out.with_suffix(".md").read_text()


@pytest.mark.parametrize(
    ("task", "adapter", "options", "message"),
    [
        ("maths", "adapter", [], "adapter_model.safetensors"),
        ("poetry=x.jsonl", None, [], "unknown task 'poetry'"),
        ("maths=FILE", "nothing", [], "holds no adapter_model.safetensors"),
        ("maths=FILE", "nothing", ["--update-cards"], "holds no card.json"),
        ("maths=FILE", None, ["--item-tokens", "3"], "raise --item-tokens"),
        ("refusal=PROMPTS", None, [], "needs rows with an answer"),
    ],
)
def test_wrong_options_end_in_one_line(
    tmp_path, tiny_base, maths_file, capsys, task, adapter, options, message
):
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"prompt": "Tell me."}\n')
    task = task.replace("FILE", str(maths_file)).replace("PROMPTS", str(prompts))
    command = ["--base-model", str(tiny_base), "--out", str(tmp_path / "t"), "--tasks", task]
    command += ["--metrics", "held_out", *options]
    command += ["--adapters", str(tmp_path / adapter)] if adapter else []
    assert main(command) == 1
    assert message in capsys.readouterr().err.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--update-cards"], "--update-cards writes into --adapters: use --base-model"),
        (["--item-tokens", "9"], "--item-tokens counts by the base model's tokenizer"),
    ],
)
def test_what_a_server_cannot_be_asked_is_refused_before_it_is(
    tmp_path, maths_file, capsys, options, message
):
    command = ["--server", "http://127.0.0.1:9", "--models", "base", "--out", str(tmp_path / "t")]
    assert main([*command, "--tasks", f"maths={maths_file}", *options]) == 1
    assert message in capsys.readouterr().err
