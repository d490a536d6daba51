"""LoRI's masks: how much is kept, of what, and what comes back from disk."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.training.errors import TrainingError
from adapters.training.methods.lori.mask_files import read_masks, write_masks
from adapters.training.methods.lori.masks import GRANULARITIES, RATIOS, kept_count, magnitude_masks

PROJECTIONS = {
    **{f"self_attn.{name}": 12 for name in ("q_proj", "k_proj", "v_proj", "o_proj")},
    **{f"mlp.{name}": 20 for name in ("gate_proj", "up_proj", "down_proj")},
}


def name_of(layer: int, projection: str) -> str:
    return f"base_model.model.model.layers.{layer}.{projection}.lora_B.default.weight"


def factors(seed: int = 0, layers: int = 3, rank: int = 7) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name_of(layer, projection): torch.randn(size, rank, generator=generator) * (1 + layer)
        for layer in range(layers)
        for projection, size in PROJECTIONS.items()
    }


GROUPS = {
    "model": 1,
    "module": 2,
    "projection": 7,
    "layer": 3,
    "matrix": 21,
}


def group(name: str, granularity: str) -> str:
    parts = name.split(".")
    index = {"module": 5, "projection": 6, "layer": 4}
    if granularity in index:
        return parts[index[granularity]]
    return name if granularity == "matrix" else ""


@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("sparsity", RATIOS)
def test_each_group_keeps_its_share_within_one_entry(sparsity, granularity):
    found = factors()
    masks = magnitude_masks(found, sparsity, granularity)
    assert masks.keys() == found.keys()
    kept: dict[str, list[int]] = {}
    for name, mask in masks.items():
        assert mask.shape == found[name].shape
        assert mask.dtype == torch.bool
        counts = kept.setdefault(group(name, granularity), [0, 0])
        counts[0] += int(mask.sum())
        counts[1] += mask.numel()
    assert len(kept) == GROUPS[granularity]
    for there, entries in kept.values():
        assert abs(there - (1 - sparsity) * entries) <= 1


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_whatever_is_kept_is_no_smaller_than_whatever_is_not(granularity):
    found = factors(1)
    masks = magnitude_masks(found, 0.9, granularity)
    inside: dict[str, float] = {}
    outside: dict[str, float] = {}
    for name, mask in masks.items():
        at, size = group(name, granularity), found[name].abs()
        inside[at] = min(inside.get(at, math.inf), float(torch.where(mask, size, math.inf).min()))
        outside[at] = max(outside.get(at, 0.0), float(torch.where(mask, 0.0, size).max()))
    assert all(inside[at] >= outside[at] for at in inside)


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.integers(-3, 3), min_size=1, max_size=40),
    sparsity=st.floats(0, 0.999),
)
def test_equal_entries_are_counted_too(values, sparsity):
    factor = torch.tensor(values, dtype=torch.bfloat16)[:, None]
    [mask] = magnitude_masks({"b": factor}, sparsity).values()
    assert int(mask.sum()) == kept_count(len(values), sparsity)


@pytest.mark.parametrize(
    ("entries", "sparsity", "kept"),
    [(10, 0.9, 1), (1000, 0.9, 100), (7, 0.9, 1), (3, 0.5, 2), (4, 0.9, 0), (9, 0.1, 8), (5, 0, 5)],
)
def test_the_number_kept_is_the_nearest_whole_one(entries: int, sparsity: float, kept: int) -> None:
    """1 − 0.9 is a little less than a tenth: cut off, a tenth of ten entries would be none."""
    assert kept_count(entries, sparsity) == kept


def test_of_equal_entries_the_first_are_kept():
    masks = magnitude_masks({"b": torch.ones(2, 2), "a": torch.zeros(2, 2)}, 0.75)
    assert masks["b"].tolist() == [[True, True], [False, False]]
    assert not masks["a"].any()


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_what_earlier_tasks_took_is_left_alone(granularity):
    found = factors(2)
    first = magnitude_masks(found, 0.6, granularity)
    second = magnitude_masks(found, 0.6, granularity, taken=first)
    for name, mask in second.items():
        assert not (mask & first[name]).any()
    kept = sum(int(mask.sum()) for mask in second.values())
    assert abs(kept - 0.4 * sum(one.numel() for one in found.values())) <= len(second)
    with pytest.raises(TrainingError, match="earlier tasks left"):
        magnitude_masks(found, 0.3, granularity, taken=first)


@pytest.mark.parametrize(
    ("granularity", "group"), [("model", "the model"), ("layer", "0"), ("projection", "up_proj")]
)
def test_what_has_too_few_entries_left_is_named(granularity, group):
    found = {name_of(0, "mlp.up_proj"): torch.ones(4, 5)}
    first = magnitude_masks(found, 0.7, granularity)
    message = f"keep 16 entries of {group}, but earlier tasks left 14 of 20; use a larger sparsity"
    with pytest.raises(TrainingError, match=message):
        magnitude_masks(found, 0.2, granularity, taken=first)
    [last] = magnitude_masks(found, 0.3, granularity, taken=first).values()
    assert int(last.sum()) == 14


def test_a_mask_that_keeps_nothing_holds_booleans_too():
    [mask] = magnitude_masks({"b": torch.ones(2, 2)}, 0.9).values()
    assert mask.dtype == torch.bool
    assert mask.tolist() == [[False, False], [False, False]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda found: found.clear(), "^there is no lora_B to make a mask for$"),
        (lambda found: found[name_of(0, "mlp.up_proj")].fill_(math.nan), "not finite"),
    ],
)
def test_what_no_mask_can_be_made_of_is_refused(change, message):
    found = factors()
    change(found)
    with pytest.raises(TrainingError, match=message):
        magnitude_masks(found, 0.9)


@pytest.mark.parametrize("sparsity", [-0.1, 1.0, 1.5, math.nan])
def test_a_sparsity_is_a_share(sparsity):
    with pytest.raises(TrainingError, match="from 0 to less than 1"):
        magnitude_masks(factors(), sparsity)


def test_names_that_tell_no_layer_have_no_such_groups():
    with pytest.raises(TrainingError, match="use 'model' or 'matrix'"):
        magnitude_masks({"odd": torch.ones(2, 2)}, 0.5, "layer")


def test_an_earlier_mask_of_another_shape_is_refused():
    found = factors()
    with pytest.raises(TrainingError, match="does not fit"):
        magnitude_masks(found, 0.9, taken={name: mask[:1] for name, mask in found.items()})


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_masks_come_back_from_both_files(tmp_path, granularity):
    masks = magnitude_masks(factors(), 0.9, granularity)
    path = write_masks(tmp_path, masks, 0.9, granularity)
    folder = "masks" if granularity == "model" else f"{granularity}wise_masks"
    assert path == tmp_path / folder / "0.9_mask.safetensors"
    assert sorted(one.name for one in path.parent.iterdir()) == [
        "0.9_mask.pt",
        "0.9_mask.safetensors",
    ]
    for found in (read_masks(path), read_masks(path.with_suffix(".pt"))):
        assert found.keys() == masks.keys()
        assert all(torch.equal(found[name], mask) for name, mask in masks.items())


def test_masks_of_several_sparsities_lie_side_by_side_and_the_last_of_one_counts(tmp_path):
    write_masks(tmp_path, magnitude_masks(factors(1), 0.9), 0.9, "model")
    write_masks(tmp_path, magnitude_masks(factors(1), 0.5), 0.5, "model")
    masks = magnitude_masks(factors(2), 0.9)
    path = write_masks(tmp_path, masks, 0.9, "model")
    assert {one.name for one in path.parent.glob("*.safetensors")} == {
        "0.5_mask.safetensors",
        "0.9_mask.safetensors",
    }
    assert all(torch.equal(read_masks(path)[name], mask) for name, mask in masks.items())


@pytest.fixture
def pickled(tmp_path):
    """A mask as the authors write it."""
    return write_masks(tmp_path, {"b": torch.ones(2, 2)}, 0.9, "model").with_suffix(".pt")


def test_a_mask_that_was_written_from_a_gpu_is_read_where_there_is_none(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
    torch.save({"b": torch.ones(2, 2, dtype=torch.bool)}, tmp_path / "mask.pt")
    assert read_masks(tmp_path / "mask.pt")["b"].device.type == "cpu"


def test_nothing_is_unpickled_under_the_name_of_safetensors(pickled):
    assert read_masks(pickled)["b"].all()
    renamed = pickled.rename(pickled.with_name("mask.safetensors"))
    with pytest.raises(TrainingError, match="cannot be read as a mask"):
        read_masks(renamed)


class Code:
    """Runs when it is unpickled."""

    def __reduce__(self):
        return (pytest.fail, ("code of a mask was run",))


def test_code_in_a_mask_is_not_run(tmp_path):
    torch.save({"b": Code()}, tmp_path / "mask.pt")
    with pytest.raises(TrainingError, match="cannot be read as a mask"):
        read_masks(tmp_path / "mask.pt")


def test_what_is_no_mask_is_refused(tmp_path):
    for name in ("absent.pt", "absent.safetensors"):
        with pytest.raises(TrainingError, match=f"there is no mask .*{name}"):
            read_masks(tmp_path / name)
    for name in ("broken.pt", "broken.safetensors"):
        (tmp_path / name).write_bytes(b"\x00" * 40)
        with pytest.raises(TrainingError, match="cannot be read as a mask"):
            read_masks(tmp_path / name)
    torch.save({"b": torch.ones(2)}, tmp_path / "numbers.pt")
    with pytest.raises(TrainingError, match="something other"):
        read_masks(tmp_path / "numbers.pt")
