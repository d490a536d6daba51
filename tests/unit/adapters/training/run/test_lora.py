"""Training LoRA on a tiny base: what it learns, writes, refuses and resumes."""

import json

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, LlamaForCausalLM

from adapters.limits import Limits
from adapters.training.data.examples import encode_all, read_examples
from adapters.training.data.order import draw_batches
from adapters.training.evaluation.heldout_loss import response_losses
from adapters.training.run.card import Card
from adapters.validation.base_model import read_base_model
from adapters.validation.validate import validate
from tests.support.training import interrupted_at


def _log(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def _weights(folder):
    return load_file(folder / "adapter_model.safetensors")


@pytest.fixture(scope="module")
def encoded(tiny_base, maths_file):
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    return encode_all(read_examples(maths_file, "maths"), tokenizer, 96)


def test_first_loss_is_the_base_models_loss_on_the_answers_alone(
    tmp_path, train, tiny_base, encoded
):
    assert train(tmp_path / "out", steps=1, warmup_steps=0) == 0
    batch = draw_batches([len(item.input_ids) for item in encoded], 2, 1, seed=0)[0]
    items = [encoded[index] for index in batch]
    base = LlamaForCausalLM.from_pretrained(tiny_base, dtype=torch.float32)
    answer_tokens = sum(len(item.input_ids) - item.prompt_tokens for item in items)
    expected = response_losses(base, items).sum() / answer_tokens
    assert _log(tmp_path / "out")[0]["loss"] == pytest.approx(expected, rel=1e-4)


def test_adapter_is_valid_and_carries_its_card(tmp_path, train, tiny_base, maths_file):
    out = tmp_path / "sums"
    assert train(out, data_name="Sums", data_licence="CC0") == 0
    facts = validate(out, read_base_model(tiny_base, "tiny-llama"), Limits())
    assert facts.rank == 8
    weights = _weights(out)
    assert all(tensor.dtype == torch.bfloat16 for tensor in weights.values())
    assert all(tensor.any() for name, tensor in weights.items() if "lora_B" in name)
    config = json.loads((out / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "tiny-llama"
    card = Card.read(out)
    assert (card.name, card.data.name, card.data.licence) == ("sums", "Sums", "CC0")
    assert list(card.data.files) == [maths_file.name]
    assert "licence: CC0" in (out / "README.md").read_text()
    assert str(tmp_path) not in "".join(
        p.read_text() for p in out.iterdir() if p.suffix != ".safetensors"
    )


def test_resumed_run_equals_an_uninterrupted_one(tmp_path, train, monkeypatch):
    assert train(tmp_path / "whole") == 0
    with interrupted_at(4, monkeypatch):
        assert train(tmp_path / "broken") == 130
    assert not (tmp_path / "broken" / "adapter_model.safetensors").exists()
    assert train(tmp_path / "broken", "--resume") == 0
    whole, resumed = _weights(tmp_path / "whole"), _weights(tmp_path / "broken")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    kept = ("step", "loss", "learning_rate", "tokens")
    assert [[e[k] for k in kept] for e in _log(tmp_path / "broken")] == [
        [e[k] for k in kept] for e in _log(tmp_path / "whole")
    ]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"targets": "[nothing]"}, "targets"),
        ({"steps": 0}, "steps"),
        ({"learning_rate": "fast"}, "learning_rate"),
        ({"dtype": "int4"}, "dtype"),
        ({"max_tokens": 8}, "raise max_tokens"),
        ({"base_model": "no/such/folder"}, "cannot load the base model"),
        ({"learning_rat": 1}, "did you mean 'learning_rate'?"),
        ({"data": "[nowhere.jsonl]"}, "cannot read nowhere.jsonl"),
        ({"task": "cooking"}, "unknown task 'cooking'"),
        ({"task": None}, "the recipe has no 'task', which is needed; --set task=… gives it"),
        ({"start_from": "nowhere"}, "start_from: there is no file nowhere"),
    ],
)
def test_wrong_settings_end_in_one_line_and_leave_nothing(
    tmp_path, train, capsys, settings, message
):
    assert train(tmp_path / "out", **settings) == 1
    _is_one_line(capsys, message)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--name", "No Name"], "cannot be an adapter's name"),
        (["--resume"], "no run to resume"),
        (["--set", "rank"], "write key=value"),
        (["--config", "nothing"], "there is no recipe nothing; bundled are"),
    ],
)
def test_wrong_options_end_in_one_line_and_leave_nothing(
    tmp_path, train, capsys, arguments, message
):
    assert train(tmp_path / "out", *arguments) == 1
    _is_one_line(capsys, message)
    assert not (tmp_path / "out").exists()


def _is_one_line(capsys, message):
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ")
    assert message in error


def test_a_folder_in_use_is_refused(tmp_path, train, capsys):
    out, one = tmp_path / "out", {"steps": 1, "warmup_steps": 0}
    assert train(out, **one) == 0
    before = _weights(out)
    assert train(out, **one) == 1
    assert "holds a finished run" in capsys.readouterr().err
    (out / "adapter_model.safetensors").unlink()
    assert train(out, **one) == 1
    assert "--resume goes on" in capsys.readouterr().err
    assert train(out, "--resume", steps=2, warmup_steps=1) == 1
    assert "started with other values of: recipe" in capsys.readouterr().err
    assert train(out, "--resume", **one) == 0
    assert all(torch.equal(before[name], tensor) for name, tensor in _weights(out).items())
