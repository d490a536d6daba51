"""Merges without a base model against PEFT's on a real one, and the wrong ones refused."""

import json
import subprocess
import sys

import pytest
import torch
from peft import PeftModel
from transformers import LlamaForCausalLM

from adapters.format.factors import read_factors
from adapters.limits import Limits
from adapters.merging.merge import COMBINATIONS, PRUNING, CannotMerge, Rule, merge
from adapters.validation.base_model import read_base_model
from adapters.validation.validate import validate
from tests.support.tiny_llama import make_adapter

RANDOM = tuple(name for name in COMBINATIONS if name.startswith("dare"))


@pytest.fixture(scope="module")
def three(tiny_base, tmp_path_factory):
    """Adapters of one rank; the last has fewer modules."""
    folder = tmp_path_factory.mktemp("three")
    made = [make_adapter(tiny_base, folder / f"a{seed}", seed) for seed in (1, 2)]
    return [*made, make_adapter(tiny_base, folder / "a3", 3, target_modules=["q_proj", "v_proj"])]


def updates(folder):
    """Module → its update, s·B·A [out, in]."""
    return {
        path: module.scaling * module.b @ module.a for path, module in read_factors(folder).items()
    }


def by_peft(base, folders, weights, rule):
    """What PEFT's merge on the whole model gives: module → update."""
    model = PeftModel.from_pretrained(
        LlamaForCausalLM.from_pretrained(base, dtype=torch.float32), folders[0], "0"
    )
    for number, folder in enumerate(folders[1:], 1):
        model.load_adapter(folder, str(number))
    torch.manual_seed(rule.seed)
    names = [str(number) for number in range(len(folders))]
    model.add_weighted_adapter(
        names, weights, "m", rule.combination, svd_rank=rule.rank, density=rule.density
    )
    return {
        name.removeprefix("base_model.model."): module.get_delta_weight("m").detach()
        for name, module in model.named_modules()
        if "m" in getattr(module, "lora_A", {})
    }


@pytest.mark.parametrize("combination", COMBINATIONS)
def test_a_merge_is_what_peft_makes_on_the_model(tmp_path, tiny_base, three, combination):
    weights = [0.5, 0.3, 0.4]
    rule = Rule(combination, density=0.7 if combination in PRUNING else None)
    if combination in RANDOM:  # which entries go depends on the order of the modules
        rule = Rule(combination, density=1.0)
    merge(dict(zip(three, weights, strict=True)), rule, tmp_path / "merged")
    found, expected = updates(tmp_path / "merged"), by_peft(tiny_base, three, weights, rule)
    assert found.keys() == expected.keys()
    for name, update in expected.items():
        torch.testing.assert_close(found[name], update, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("combination", RANDOM)
@pytest.mark.parametrize(("density", "seed"), [(0.7, 0), (0.3, 5)])
def test_dare_leaves_out_what_peft_does(tmp_path, tiny_base, combination, density, seed):
    """Of one module, since which entries go depends on the order of the modules."""
    only = {"target_modules": ["down_proj"], "layers_to_transform": [1]}
    weights = [0.5, 0.8]
    two = [make_adapter(tiny_base, tmp_path / f"a{one}", one, **only) for one in (1, 2)]
    rule = Rule(combination, density=density, seed=seed)
    merge(dict(zip(two, weights, strict=True)), rule, tmp_path / "merged")
    found, expected = updates(tmp_path / "merged"), by_peft(tiny_base, two, weights, rule)
    (name,) = expected
    assert found.keys() == expected.keys()
    torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-5)
    whole = by_peft(tiny_base, two, weights, Rule(combination, density=1.0, seed=seed))
    assert (whole[name] - expected[name]).abs().max() > 1e-3


def test_cat_is_the_weighted_sum_of_the_updates_whatever_the_ranks(tmp_path, tiny_base):
    one = make_adapter(tiny_base, tmp_path / "one", 1, r=4)
    other = make_adapter(tiny_base, tmp_path / "other", 2, r=16)
    assert merge({one: 0.4, other: -0.3}, Rule("cat"), tmp_path / "merged") == 20
    first, second = updates(one), updates(other)
    for name, update in updates(tmp_path / "merged").items():
        torch.testing.assert_close(update, 0.4 * first[name] - 0.3 * second[name])


def test_dare_leaves_out_by_its_seed(tmp_path, three):
    weights = dict.fromkeys(three[:2], 0.5)
    found = []
    for name, seed in (("one", 0), ("same", 0), ("other", 1)):
        merge(weights, Rule("dare_linear", density=0.5, seed=seed), tmp_path / name)
        found.append(updates(tmp_path / name))
    one, same, other = found
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not any(torch.equal(one[name], other[name]) for name in one)


def test_svd_makes_the_rank_that_is_asked_for(tmp_path, three):
    assert merge(dict.fromkeys(three, 0.5), Rule("svd", rank=4), tmp_path / "merged") == 4


def test_a_merge_is_a_valid_adapter_that_tells_what_is_in_it(tmp_path, tiny_base, three):
    merge(dict.fromkeys(three, 0.3), Rule("cat"), tmp_path / "merged")
    facts = validate(tmp_path / "merged", read_base_model(tiny_base, "tiny-llama"), Limits())
    assert facts.rank == 24
    record = json.loads((tmp_path / "merged" / "merge.json").read_text())
    assert record["combination"] == "cat"
    assert [(one["name"], one["weight"]) for one in record["adapters"]] == [
        ("a1", 0.3),
        ("a2", 0.3),
        ("a3", 0.3),
    ]


@pytest.mark.parametrize(
    ("count", "rule", "message"),
    [
        (1, Rule(), "two adapters or more"),
        (2, Rule("ties"), "needs --density, the share that it keeps"),
        (2, Rule("cat", density=0.5), "keeps every entry"),
        (2, Rule("ties", density=1.5), "not 1.5"),
        (2, Rule("linear", rank=4), "not with linear"),
    ],
)
def test_rules_that_do_not_hold_together_are_refused(tmp_path, three, count, rule, message):
    with pytest.raises(CannotMerge, match=message):
        merge(dict.fromkeys(three[:count], 0.5), rule, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_adapters_that_do_not_fit_each_other_are_refused(tmp_path, tiny_base, three):
    other = make_adapter(tiny_base, tmp_path / "other", 5, r=4)
    for weights, rule, message in (
        ({three[0]: 0.5, other: 0.5}, Rule("linear"), "same r"),
        ({three[0]: 0.5, three[1]: -0.5}, Rule("linear"), "is below 0"),
        ({three[0]: 0.5, tmp_path / "nowhere": 0.5}, Rule(), "adapter_config.json is missing"),
    ):
        with pytest.raises(CannotMerge, match=message):
            merge(weights, rule, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()
    (tmp_path / "merged").mkdir()
    with pytest.raises(CannotMerge, match="already exists"):
        merge(dict.fromkeys(three, 0.5), Rule(), tmp_path / "merged")


def loralloy(*arguments):
    return subprocess.run(
        [sys.executable, "-c", "from server.cli import main; main()", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_merges(tmp_path, three):
    parts = [f"{folder}=0.4" for folder in three]
    done = loralloy("merge", *parts, "--out", tmp_path / "merged")
    assert (done.returncode, done.stderr) == (0, "")
    assert "rank 24, cat of 3 adapters" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["one", "two=0.5"], "write FOLDER=WEIGHT"),
        (["one=nan", "two=0.5"], "write FOLDER=WEIGHT"),
        (["one=1", "one=2"], "one is named twice"),
        (["one=1", "two=2", "--combination", "average"], "unknown combination 'average'"),
        (["one=1", "two=2"], "one: "),
    ],
)
def test_wrong_commands_end_in_one_line(tmp_path, arguments, message):
    done = loralloy("merge", *arguments, "--out", tmp_path / "merged")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
