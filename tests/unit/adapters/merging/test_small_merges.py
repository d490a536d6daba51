"""What a merge refuses, by its words, and what it writes beside the weights: two small matrices."""

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from adapters.files import CONFIG_FILE, WEIGHTS_FILE
from adapters.format.factors import read_factors
from adapters.merging.merge import COMBINATIONS, PRUNING, CannotMerge, Rule, merge

Q, UP = "model.layers.0.self_attn.q_proj", "model.layers.0.mlp.up_proj"
Written = Callable[..., Path]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """Write an adapter of modules, each (out, in, rank), with whole numbers in it."""

    def write(name: str, modules: dict[str, tuple[int, int, int]], **config: Any) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        rank = max(shape[2] for shape in modules.values())
        content = {
            "peft_type": "LORA",
            "r": rank,
            "lora_alpha": 9 * rank,
            "target_modules": list(modules),
            "rank_pattern": {path: shape[2] for path, shape in modules.items()},
            "alpha_pattern": {path: 9 * shape[2] for path, shape in modules.items()},
            **config,
        }
        (folder / CONFIG_FILE).write_text(json.dumps(content))
        generator = torch.Generator().manual_seed(len(name))
        tensors = {}
        for path, (out, width, r) in modules.items():
            for factor, shape in (("A", (r, width)), ("B", (out, r))):
                values = torch.randint(-3, 4, shape, generator=generator).float()
                tensors[f"base_model.model.{path}.lora_{factor}.weight"] = values
        save_file(tensors, folder / WEIGHTS_FILE)
        return folder

    return write


@pytest.fixture
def two(written: Written) -> list[Path]:
    return [written(name, {Q: (4, 5, 2)}) for name in ("one", "other")]


def updates(folder: Path) -> dict[str, torch.Tensor]:
    return {path: one.scaling * one.b @ one.a for path, one in read_factors(folder).items()}


def refusal(weights: dict[Path, float], rule: Rule, out: Path) -> str:
    """The words of a refusal, which leaves nothing behind."""
    before = out.exists()
    with pytest.raises(CannotMerge) as caught:
        merge(weights, rule, out)
    assert out.exists() == before
    return str(caught.value)


def test_ranks_and_modules_that_differ_are_filled_up(written: Written, tmp_path: Path) -> None:
    one = written("one", {Q: (4, 5, 3), UP: (6, 5, 1)})
    other = written("other", {UP: (6, 5, 2)})
    out = tmp_path / "not" / "there" / "yet"
    assert merge({one: 0.5, other: 2.0}, Rule("cat"), out) == 5
    first, second, found = updates(one), updates(other), updates(out)
    torch.testing.assert_close(found[Q], 0.5 * first[Q])
    torch.testing.assert_close(found[UP], 0.5 * first[UP] + 2.0 * second[UP])
    assert all(tensor.dtype == torch.float32 for tensor in load_file(out / WEIGHTS_FILE).values())


def test_linear_has_the_cross_terms_of_its_formula(two: list[Path], tmp_path: Path) -> None:
    merge(dict(zip(two, (0.25, 2.0), strict=True)), Rule("linear"), tmp_path / "out")
    pairs = [(w, read_factors(folder)[Q]) for folder, w in zip(two, (0.25, 2.0), strict=True)]
    b, a = (
        sum((w * one.scaling) ** 0.5 * getattr(one, factor) for w, one in pairs)
        for factor in ("b", "a")
    )
    torch.testing.assert_close(updates(tmp_path / "out")[Q], b @ a)


def test_svd_makes_the_rank_that_is_asked_for_or_that_of_the_adapters(
    written: Written, tmp_path: Path
) -> None:
    weights = {written("one", {Q: (4, 5, 3)}): 0.5, written("other", {Q: (4, 5, 2)}): 0.5}
    assert merge(weights, Rule("svd", rank=1), tmp_path / "narrow") == 1
    assert merge(weights, Rule("svd"), tmp_path / "wide") == 3


def test_dare_leaves_out_its_share_by_its_seed(written: Written, tmp_path: Path) -> None:
    weights = dict.fromkeys((written(name, {Q: (30, 40, 8)}) for name in ("one", "other")), 1.0)
    merge(weights, Rule("dare_linear", density=1.0), tmp_path / "whole")
    found = []
    for number, seed in enumerate((3, 3, 4)):
        merge(weights, Rule("dare_linear", density=0.3, seed=seed), tmp_path / str(number))
        found.append(load_file(tmp_path / str(number) / WEIGHTS_FILE))
    whole = load_file(tmp_path / "whole" / WEIGHTS_FILE)
    for name, tensor in found[0].items():
        assert torch.equal(tensor, found[1][name])
        assert not torch.equal(tensor, found[2][name])
        assert (tensor == 0).sum() > 1.5 * (whole[name] == 0).sum()


def test_a_merge_is_written_as_peft_writes_adapters(written: Written, tmp_path: Path) -> None:
    one = written("one", {UP: (6, 5, 1), Q: (4, 5, 3)}, base_model_name_or_path="org/base")
    other = written("other", {Q: (4, 5, 2)}, base_model_name_or_path="org/another")
    merge({one: 0.5, other: 0.5}, Rule("cat"), tmp_path / "out")
    config = json.loads((tmp_path / "out" / CONFIG_FILE).read_text())
    expected = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "org/base",
        "inference_mode": True,
        "r": 5,
        "lora_alpha": 5,
        "target_modules": ["q_proj", "up_proj"],
    }
    assert {key: config[key] for key in expected} == expected
    with safe_open(tmp_path / "out" / WEIGHTS_FILE, "pt") as file:
        assert file.metadata() == {"format": "pt"}
        assert sorted(file.keys()) == [
            f"base_model.model.{path}.lora_{factor}.weight"
            for path in (UP, Q)
            for factor in ("A", "B")
        ]


def test_a_base_model_that_is_not_named_stays_so(two: list[Path], tmp_path: Path) -> None:
    merge(dict.fromkeys(two, 0.5), Rule("cat"), tmp_path / "out")
    config = json.loads((tmp_path / "out" / CONFIG_FILE).read_text())
    assert config["base_model_name_or_path"] is None


def test_the_record_says_how_a_merge_was_made_and_of_what(
    two: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(two[0])
    rule = Rule("dare_linear", density=0.5, seed=7)
    merge({Path(): 0.25, two[1]: 0.75}, rule, tmp_path / "out")
    text = (tmp_path / "out" / "merge.json").read_text()
    assert json.loads(text) == {
        "combination": "dare_linear",
        "density": 0.5,
        "seed": 7,
        "adapters": [
            {
                "name": folder.name,
                "weight": weight,
                "sha256": sha256((folder / WEIGHTS_FILE).read_bytes()).hexdigest(),
            }
            for folder, weight in zip(two, (0.25, 0.75), strict=True)
        ],
    }
    for name in ("merge.json", CONFIG_FILE):
        lines = (tmp_path / "out" / name).read_text().splitlines(keepends=True)
        assert lines[0] == "{\n"
        assert lines[1].startswith('  "'), "a person can read it"
        assert lines[-1] == "}\n"


@pytest.mark.parametrize(
    ("combination", "options", "words"),
    [
        (
            "ties",
            {},
            "ties drops entries and needs --density, the share that it keeps, such as 0.7",
        ),
        ("svd", {"density": 0.5}, "svd keeps every entry; leave out --density"),
        ("ties", {"density": 0.0}, "a density is a share above 0 and up to 1, not 0.0"),
        ("ties", {"density": 1.01}, "a density is a share above 0 and up to 1, not 1.01"),
        (
            "cat",
            {"rank": 4},
            "--rank works with the svd combinations only, not with cat",
        ),
    ],
)
def test_a_rule_that_does_not_hold_together_is_told(
    combination: Any, options: dict[str, Any], words: str, two: list[Path], tmp_path: Path
) -> None:
    rule = Rule(combination, **options)
    assert refusal(dict.fromkeys(two, 0.5), rule, tmp_path / "out") == words


@pytest.mark.parametrize("combination", COMBINATIONS)
def test_only_sums_take_a_weight_below_0_and_all_take_0(
    combination: Any, two: list[Path], tmp_path: Path
) -> None:
    rule = Rule(combination, density=1.0 if combination in PRUNING else None)
    weights = dict(zip(two, (0.5, -0.5), strict=True))
    if combination in ("cat", "svd"):
        merge(weights, rule, tmp_path / "out")
    else:
        assert refusal(weights, rule, tmp_path / "out") == (
            f"{combination} takes the square root of each weight, and that of {two[1]} is below 0"
        )
    merge(dict(zip(two, (0.5, 0.0), strict=True)), rule, tmp_path / "zero")


def test_one_adapter_is_no_merge(two: list[Path], tmp_path: Path) -> None:
    assert refusal({two[0]: 1.0}, Rule(), tmp_path / "out") == "name two adapters or more"


def test_a_folder_that_is_there_is_left_alone(two: list[Path], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    words = f"{tmp_path / 'out'} already exists; choose another --out"
    assert refusal(dict.fromkeys(two, 0.5), Rule(), tmp_path / "out") == words
    assert not list((tmp_path / "out").iterdir())


def test_an_adapter_that_cannot_be_read_is_named(two: list[Path], tmp_path: Path) -> None:
    weights = {two[0]: 0.5, tmp_path / "nowhere": 0.5}
    words = f"{tmp_path / 'nowhere'}: adapter_config.json is missing"
    assert refusal(weights, Rule(), tmp_path / "out") == words


@pytest.mark.parametrize(("out", "width"), [(4, 6), (5, 5)])
def test_adapters_of_different_base_models_are_told(
    out: int, width: int, written: Written, tmp_path: Path
) -> None:
    one, other = written("one", {Q: (4, 5, 2)}), written("other", {Q: (out, width, 2)})
    assert refusal({one: 0.5, other: 0.5}, Rule(), tmp_path / "out") == (
        f"{other}: {Q} is {width} to {out} wide, and in another adapter 5 to 4: they are of "
        "different base models"
    )


def test_what_peft_refuses_is_told_in_one_line(written: Written, tmp_path: Path) -> None:
    one, other = written("one", {Q: (4, 5, 2)}), written("other", {Q: (4, 5, 3)})
    words = refusal({one: 0.5, other: 0.5}, Rule("linear"), tmp_path / "out")
    assert words.startswith("linear: All adapters must have the same r value")
    assert "\n" not in words
