"""LoRI on a tiny base: A as it was drawn, B only where its mask lets it, however the run goes."""

import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional
from transformers import AutoTokenizer, LlamaForCausalLM

from adapters.limits import Limits
from adapters.training.errors import TrainingError
from adapters.training.methods.adapter import lora_config, put_fresh
from adapters.training.methods.lori import extract
from adapters.training.methods.lori.frozen import freeze_a
from adapters.training.methods.lori.mask_files import read_masks, write_masks
from adapters.training.methods.lori.masked_linear import MaskedLinear, mask_b
from adapters.training.recipe import Recipe
from adapters.training.run.base_model import load_base
from adapters.training.run.card import Card
from adapters.validation.base_model import read_base_model
from adapters.validation.validate import validate
from tests.support.training import interrupted_at


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter_model.safetensors")


def split(found):
    a = {name: tensor for name, tensor in found.items() if "lora_A" in name}
    return a, {name: tensor for name, tensor in found.items() if "lora_B" in name}


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def drawn_a(tiny_base, a_seed):
    """Every A as PEFT draws it for a seed, in the file's type and by the file's names."""
    base, _ = load_base(str(tiny_base), "float32")
    model = put_fresh(base, lora_config(Recipe()), a_seed)
    return {
        name.replace(".default.", "."): parameter.detach().to(torch.bfloat16)
        for name, parameter in model.named_parameters()
        if "lora_A" in name
    }


@pytest.fixture(scope="module")
def dense(tmp_path_factory, train):
    """A LoRI-D adapter with masks for half and a tenth of B."""
    out = tmp_path_factory.mktemp("dense") / "dense"
    assert train(out, method="lori_d") == 0
    assert extract.main([str(out), "--sparsity", "0.5", "0.9"]) == 0
    return out


@pytest.fixture(scope="module")
def half(dense):
    return dense / "masks" / "0.5_mask.safetensors"


def test_a_is_bit_identical_after_training_and_b_is_trained(dense, tiny_base):
    a, b = split(weights(dense))
    assert equal(a, drawn_a(tiny_base, a_seed=Card.read(dense).recipe.a_seed))
    assert all(tensor.any() for tensor in b.values())


def test_a_gets_no_gradient(tiny_base):
    base, _ = load_base(str(tiny_base), "float32")
    model = put_fresh(base, lora_config(Recipe()), 0)
    freeze_a(model)
    model(input_ids=torch.arange(1, 9)[None], labels=torch.arange(1, 9)[None]).loss.backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    assert all(gradients[name] is None for name in gradients if "lora_B" not in name)
    assert all(gradients[name].any() for name in gradients if "lora_B" in name)


@pytest.mark.parametrize(
    "other",
    [
        {"method": "lori_d", "seed": 1},
        {"method": "lori_d", "data": "other.jsonl"},
        {"method": "lori_s", "mask": "half"},
        {"method": "lori_d", "a_seed": 5},
    ],
)
def test_another_seed_data_or_method_draws_another_a(
    tmp_path, train, dense, half, maths_file, other
):
    """So that adapters made to be merged are unlike, without a thought for seeds."""
    if "mask" in other:
        other["mask"] = half
    if "data" in other:
        rows = maths_file.read_text().splitlines(keepends=True)
        (tmp_path / other["data"]).write_text("".join(rows[1:]))
        other["data"] = f"[{tmp_path / other['data']}]"
    assert train(tmp_path / "other", **other) == 0
    one, _ = split(weights(dense))
    another, _ = split(weights(tmp_path / "other"))
    assert not any(torch.equal(one[name], another[name]) for name in one)


def test_one_a_seed_draws_one_a_whatever_else(tmp_path, train, half, tiny_base):
    for name, method in (
        ("one", {"method": "lori_d"}),
        ("two", {"method": "lori_s", "mask": half}),
    ):
        assert train(tmp_path / name, **method, a_seed=5, seed=len(name)) == 0
        assert equal(split(weights(tmp_path / name))[0], drawn_a(tiny_base, a_seed=5))


def outside(b, mask_file):
    """The entries of B that a mask leaves out, and those that it keeps."""
    masks = read_masks(mask_file)
    found = {name.replace(".lora_B.", ".lora_B.default."): tensor for name, tensor in b.items()}
    assert found.keys() == masks.keys()
    left_out = torch.cat([found[name][~masks[name]] for name in found])
    return left_out, torch.cat([found[name][masks[name]] for name in found])


@pytest.mark.parametrize(
    "settings", [{}, {"micro_batch_size": 1}, {"loss": "soft_sft", "beta": 0.05}]
)
def test_b_is_exactly_zero_outside_the_mask(tmp_path, train, half, tiny_base, settings):
    out = tmp_path / "sparse"
    assert train(out, method="lori_s", mask=half, **settings) == 0
    a, b = split(weights(out))
    left_out, kept = outside(b, half)
    assert not left_out.any()
    assert kept.count_nonzero() > 0.9 * kept.numel()
    assert equal(a, drawn_a(tiny_base, a_seed=Card.read(out).recipe.a_seed))
    card = json.loads((out / "card.json").read_text())
    assert (card["method"], list(card["inputs"])) == ("lori_s", ["mask"])
    assert validate(out, read_base_model(tiny_base, "tiny-llama"), Limits()).rank == 8


def test_accumulated_micro_batches_make_the_step_of_the_whole_batch(tmp_path, train, half):
    for name, micro in (("whole", None), ("parts", 1)):
        for reduction in ("token", "example"):
            settings = {"mask": half, "micro_batch_size": micro, "reduction": reduction, "steps": 3}
            assert train(tmp_path / f"{name}-{reduction}", method="lori_s", **settings) == 0
    for reduction in ("token", "example"):
        whole, parts = (weights(tmp_path / f"{name}-{reduction}") for name in ("whole", "parts"))
        for name in whole:
            torch.testing.assert_close(whole[name], parts[name], rtol=2e-2, atol=2e-5)


@pytest.mark.parametrize("method", ["lori_d", "lori_s"])
def test_a_resumed_run_equals_an_uninterrupted_one(
    tmp_path, train, half, tiny_base, monkeypatch, method
):
    settings = {"mask": half} if method == "lori_s" else {}
    assert train(tmp_path / "whole", method=method, **settings) == 0
    with interrupted_at(4, monkeypatch):
        assert train(tmp_path / "broken", method=method, **settings) == 130
    assert train(tmp_path / "broken", "--resume", method=method, **settings) == 0
    resumed = weights(tmp_path / "broken")
    assert equal(weights(tmp_path / "whole"), resumed)
    a_seed = Card.read(tmp_path / "broken").recipe.a_seed
    assert equal(split(resumed)[0], drawn_a(tiny_base, a_seed=a_seed)), (
        "loading a checkpoint thaws no A"
    )


def test_going_on_from_an_adapter_changes_only_the_masked_entries(tmp_path, train, dense, half):
    out = tmp_path / "continued"
    assert train(out, method="lori_s", mask=half, start_from=dense, seed=3) == 0
    before_a, before_b = split(weights(dense))
    after_a, after_b = split(weights(out))
    assert equal(before_a, after_a)
    was_outside, was_kept = outside(before_b, half)
    is_outside, is_kept = outside(after_b, half)
    assert torch.equal(was_outside, is_outside)
    assert (was_kept != is_kept).float().mean() > 0.5


def test_going_on_without_a_mask_trains_all_of_b_and_no_a(tmp_path, train, dense):
    out = tmp_path / "continued"
    assert train(out, method="lori_d", start_from=dense, learning_rate=0.01) == 0
    (before_a, before_b), (after_a, after_b) = split(weights(dense)), split(weights(out))
    assert equal(before_a, after_a)
    assert all((before_b[name] != after_b[name]).float().mean() > 0.5 for name in before_b)


def test_a_of_an_earlier_adapter_can_be_taken(tmp_path, train, dense, half):
    out = tmp_path / "sparse"
    assert train(out, method="lori_s", mask=half, reuse_a=dense, seed=9) == 0
    assert equal(split(weights(out))[0], split(weights(dense))[0])


def test_the_result_is_a_plain_lora_for_peft(dense, tiny_base):
    base = LlamaForCausalLM.from_pretrained(tiny_base, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    ids = tokenizer("What is 3 plus 9?", return_tensors="pt")["input_ids"]
    before = base(ids).logits
    assert not torch.equal(PeftModel.from_pretrained(base, str(dense))(ids).logits, before)


def test_a_masked_linear_is_the_linear_with_its_gradient_masked():
    torch.manual_seed(0)
    plain = nn.Linear(5, 7, bias=False)
    mask = torch.rand(7, 5) < 0.5
    x = torch.randn(3, 5)
    functional.mse_loss(plain(x), torch.ones(3, 7)).backward()
    expected, plain.weight.grad = plain.weight.grad * mask, None
    masked = MaskedLinear(plain, mask)
    assert torch.equal(masked(x), plain(x))
    functional.mse_loss(masked(x), torch.ones(3, 7)).backward()
    assert torch.equal(plain.weight.grad, expected), "the same parameter"
    assert list(masked.state_dict()) == ["weight"], "a checkpoint holds no mask"


def test_a_mask_of_another_model_is_refused(tiny_base, half):
    base, _ = load_base(str(tiny_base), "float32")
    masks = read_masks(half)
    first = min(masks)
    model = put_fresh(base, lora_config(Recipe()), 0)
    with pytest.raises(TrainingError, match="has nothing for"):
        mask_b(model, {name: mask for name, mask in masks.items() if name != first})
    with pytest.raises(TrainingError, match="another rank or model"):
        mask_b(model, masks | {first: masks[first][:, :4]})
    with pytest.raises(TrainingError, match="which the model does not have"):
        mask_b(model, masks | {"elsewhere.lora_B.default.weight": masks[first]})


def test_a_mask_of_another_rank_ends_in_one_line(tmp_path, train, half, capsys):
    assert train(tmp_path / "out", method="lori_s", mask=half, rank=4, lora_alpha=8) == 1
    assert "another rank or model" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_masks_can_leave_earlier_tasks_entries_alone(tmp_path, train, dense, capsys):
    second = tmp_path / "second"
    assert train(second, method="lori_d", seed=1) == 0
    first = dense / "masks" / "0.9_mask.safetensors"
    assert extract.main([str(second), "--exclude", str(first)]) == 0
    before, after = read_masks(first), read_masks(second / "masks" / "0.9_mask.pt")
    assert not any((before[name] & after[name]).any() for name in before)
    assert sum(int(mask.sum()) for mask in after.values()) == pytest.approx(
        0.1 * sum(mask.numel() for mask in after.values()), abs=1
    )
    assert "entries" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere holds no adapter_model.safetensors"),
        (["ADAPTER", "--sparsity", "1.5"], "not 1.5"),
        (["ADAPTER", "--exclude", "nowhere.pt"], "there is no mask nowhere.pt"),
    ],
)
def test_masks_that_cannot_be_made_are_refused_in_one_line(dense, capsys, arguments, message):
    assert extract.main([str(dense) if one == "ADAPTER" else one for one in arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert len(error.splitlines()) == 1


def test_masks_to_exclude_must_fit_each_other(tmp_path, dense, half, capsys):
    masks = read_masks(half)
    other = write_masks(tmp_path, {min(masks): masks[min(masks)]}, 0.5, "model")
    assert extract.main([str(dense), "--exclude", str(half), str(other)]) == 1
    assert "do not fit each other" in capsys.readouterr().err
