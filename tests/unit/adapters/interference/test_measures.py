"""The measures of interference against the updates themselves, and against chance."""

import csv
import io
import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from adapters.errors import AdapterError, InvalidAdapter
from adapters.format.factors import Factors, read_factors
from adapters.interference.measures import by_layer, module_overlaps, overall
from adapters.interference.table import COLUMNS, as_csv, pairs

Q = "model.layers.{}.self_attn.q_proj"


def random_factors(seed: int, rank: int = 8, size: int = 512, scaling: float = 2.0) -> Factors:
    """Independent A as LoRI draws it, uniform in ±1/√d, and any B."""
    generator = torch.Generator().manual_seed(seed)
    a = (torch.rand(rank, size, generator=generator) * 2 - 1) / math.sqrt(size)
    return Factors(a, torch.randn(24, rank, generator=generator), scaling)


def adapter(seed: int, layers: int = 3, **more) -> dict[str, Factors]:
    return {Q.format(n): random_factors(100 * seed + n, **more) for n in range(layers)}


def update(one: Factors) -> torch.Tensor:
    return one.scaling * one.b.double() @ one.a.double()


def cosine(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one * other).sum() / (one.norm() * other.norm()))


def test_the_measures_are_those_of_the_whole_matrices() -> None:
    first, second = adapter(1, rank=4, scaling=0.5), adapter(2, rank=6)
    parts = module_overlaps(first, second)
    for part in parts:
        one, other = first[part.module], second[part.module]
        found = part.overlap
        assert found.delta_cosine == pytest.approx(cosine(update(one), update(other)), abs=1e-9)
        rows = [abs(cosine(mine.double(), theirs.double())) for mine in one.a for theirs in other.a]
        assert found.row_cosine == pytest.approx(sum(rows) / len(rows), abs=1e-9)
        gram = (one.a.double() @ other.a.double().T).norm()
        whole = one.a.double().norm() * other.a.double().norm()
        assert found.cross_gram == pytest.approx(float(gram / whole), abs=1e-9)
        assert found.mask_overlap is None
    joined = [torch.cat([update(one[name]) for name in first]) for one in (first, second)]
    assert overall(parts).delta_cosine == pytest.approx(cosine(*joined), abs=1e-9)


@pytest.mark.parametrize(
    ("size", "rows", "gram"),
    [(512, 0.0353, 0.0444), (2048, 0.0174, 0.0216), (4096, 0.0123, 0.0154)],
)
def test_independent_a_is_at_chance(size: int, rows: float, gram: float) -> None:
    first = {Q.format(0): random_factors(1, rank=64, size=size)}
    second = {Q.format(0): random_factors(2, rank=64, size=size)}
    found = overall(module_overlaps(first, second))
    # The figures given are of one drawing each; chance by the formula has to be near, too.
    for measured in (rows, found.row_chance):
        assert found.row_cosine == pytest.approx(measured, rel=0.05)
    for measured in (gram, found.gram_chance):
        assert found.cross_gram == pytest.approx(measured, rel=0.05)


def test_an_adapter_overlaps_itself_wholly() -> None:
    one = adapter(3)
    found = overall(module_overlaps(one, one))
    assert found.delta_cosine == pytest.approx(1)
    assert found.cross_gram > 0.3
    opposite = {name: Factors(part.a, -part.b, part.scaling) for name, part in one.items()}
    assert overall(module_overlaps(one, opposite)).delta_cosine == pytest.approx(-1)


def masked(factors: dict[str, Factors], kept: float, seed: int) -> dict[str, Factors]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: Factors(
            part.a, part.b * (torch.rand(part.b.shape, generator=generator) < kept), part.scaling
        )
        for name, part in factors.items()
    }


def test_sparse_b_have_the_overlap_of_their_masks() -> None:
    first, second = masked(adapter(1), 0.4, 1), masked(adapter(2), 0.4, 2)
    [part, *_] = module_overlaps(first, second)
    here, there = (one[part.module].b != 0 for one in (first, second))
    expected = float((here & there).sum() / (here | there).sum())
    assert part.overlap.mask_overlap == pytest.approx(expected)
    assert part.overlap.mask_chance == pytest.approx(0.4 / 1.6, rel=0.15)
    assert overall(module_overlaps(first, first)).mask_overlap == 1
    assert overall(module_overlaps(first, adapter(2))).mask_overlap is None


def test_layers_are_told_apart() -> None:
    first, second = adapter(1), adapter(2)
    second[Q.format(1)] = first[Q.format(1)]
    second["model.norm_like"] = first["model.norm_like"] = random_factors(5)
    found = by_layer(module_overlaps(first, second))
    assert list(found) == [0, 1, 2]
    assert found[1].delta_cosine == pytest.approx(1)
    assert abs(found[0].delta_cosine) < 0.2


def test_what_cannot_be_compared_is_said() -> None:
    with pytest.raises(InvalidAdapter, match="one and other: the two adapters touch no module"):
        pairs({"one": adapter(1), "other": {"model.layers.9.mlp.up_proj": random_factors(1)}})
    with pytest.raises(InvalidAdapter, match="differ in the size"):
        module_overlaps(adapter(1), adapter(2, size=64))


def test_nothing_at_all_overlaps_nothing() -> None:
    one = adapter(1)
    nothing = {name: Factors(part.a * 0, part.b * 0, part.scaling) for name, part in one.items()}
    found = overall(module_overlaps(one, nothing))
    assert (found.row_cosine, found.cross_gram, found.delta_cosine) == (0, 0, 0)


def test_the_table_has_a_line_for_each_pair_and_module() -> None:
    found = pairs({"a": adapter(1), "b": adapter(2), "c": masked(adapter(3), 0.5, 3)})
    lines = list(csv.DictReader(io.StringIO(as_csv(found))))
    assert [(line["first"], line["second"], line["module"]) for line in lines[:2]] == [
        ("a", "b", "all"),
        ("a", "b", Q.format(0)),
    ]
    assert len(lines) == 3 * (1 + 3)
    assert float(lines[0]["row_cosine"]) == pytest.approx(found[0].overall.row_cosine, rel=1e-5)
    assert {column for column in COLUMNS if not lines[0][column]} == {"mask_overlap", "mask_chance"}


def write(folder: Path, tensors: dict[str, torch.Tensor], **config: object) -> Path:
    folder.mkdir()
    content = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"], **config}
    (folder / "adapter_config.json").write_text(json.dumps(content))
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


def test_factors_come_from_disk_with_their_scaling(tmp_path: Path) -> None:
    name = f"base_model.model.{Q.format(0)}.lora_{{}}.weight"
    a, b = torch.randn(4, 16).bfloat16(), torch.randn(8, 4).bfloat16()
    tensors = {name.format("A"): a, name.format("B"): b}
    plain = read_factors(write(tmp_path / "plain", tensors))
    assert list(plain) == [Q.format(0)]
    assert torch.equal(plain[Q.format(0)].a, a.float())
    assert torch.equal(plain[Q.format(0)].b, b.float())
    assert plain[Q.format(0)].scaling == 2
    stabilised = read_factors(write(tmp_path / "rslora", tensors, use_rslora=True))
    assert stabilised[Q.format(0)].scaling == 4
    with pytest.raises(AdapterError, match="has lora_A alone"):
        read_factors(write(tmp_path / "half", {name.format("A"): a}))
    (tmp_path / "plain" / "adapter_model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}")
    with pytest.raises(AdapterError, match="truncated"):
        read_factors(tmp_path / "plain")
