"""A tensor of an upload is held to the base model's, number by number."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapters.errors import MalformedFile, UnknownTensor, UnsupportedAdapter
from adapters.format.safetensors_header import TensorSpec
from adapters.validation.base_model import BaseModelShapes
from adapters.validation.base_weights import BaseTensor, find_base_tensor, is_equal
from adapters.validation.extra_tensors import is_extra, judge_extras
from tests.support.safetensors_bytes import RawTensor, serialise

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
HEAD, EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"


def raw(values: Any, dtype: str = "F32") -> RawTensor:
    numbers = np.array(values, "<f4")
    data = {
        "F32": numbers,
        "F16": numbers.astype("<f2"),
        "BF16": (numbers.view("<u4") >> 16).astype("<u2"),
    }[dtype]
    return RawTensor(dtype, numbers.shape, data.tobytes())


def test_a_tensor_is_found_in_a_single_file(tmp_path: Path) -> None:
    content = serialise({"a": raw([1, 2]), EMBEDDING: raw([[3], [4]], "BF16")})
    (tmp_path / SINGLE).write_bytes(content)
    begin = len(content) - 4
    expected = BaseTensor(tmp_path / SINGLE, "BF16", (2, 1), begin)
    assert find_base_tensor(tmp_path, EMBEDDING) == expected
    assert find_base_tensor(tmp_path, HEAD) == expected, "a tied head is the embedding"
    assert find_base_tensor(tmp_path, "a") == BaseTensor(tmp_path / SINGLE, "F32", (2,), begin - 8)
    assert find_base_tensor(tmp_path, "b") is None


def test_a_tensor_is_found_in_the_shard_that_the_index_names(tmp_path: Path) -> None:
    for shard, value in (("1.safetensors", 1.0), ("2.safetensors", 2.0), (SINGLE, 3.0)):
        (tmp_path / shard).write_bytes(serialise({"a": raw([value]), HEAD: raw([value])}))
    index = {"weight_map": {"a": "2.safetensors", HEAD: "1.safetensors", "gone": "1.safetensors"}}
    (tmp_path / INDEX).write_text(json.dumps(index))
    for name, shard in (("a", "2.safetensors"), (HEAD, "1.safetensors")):
        found = find_base_tensor(tmp_path, name)
        assert found is not None
        assert found.file == tmp_path / shard
    assert find_base_tensor(tmp_path, "gone") is None
    assert find_base_tensor(tmp_path, "b") is None


def test_a_folder_without_weights_has_no_tensor(tmp_path: Path) -> None:
    assert find_base_tensor(tmp_path, HEAD) is None


def equal(ours: RawTensor, theirs: RawTensor, folder: Path) -> bool:
    """Whether an upload's tensor is taken for the base model's; both lie behind others."""
    (folder / SINGLE).write_bytes(b"\xff" * 6 + ours.data + b"\xff" * 4)
    base = BaseTensor(folder / SINGLE, ours.dtype, ours.shape, 6)
    spec = TensorSpec(theirs.dtype, theirs.shape, 4, 4 + len(theirs.data))
    return is_equal(io.BytesIO(b"\xff" * 9 + theirs.data + b"\xff" * 4), 5, spec, base)


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_in_one_format_numbers_must_be_equal(dtype: str, tmp_path: Path) -> None:
    own = raw([1.0, -2.0, 0.0], dtype)
    assert equal(own, raw([1.0, -2.0, -0.0], dtype), tmp_path)
    assert not equal(own, raw([1.0, 2.0, 0.0], dtype), tmp_path)
    assert not equal(own, raw([1.0, -2.0, 2.0**-20], dtype), tmp_path)
    assert not equal(own, raw([1.0078125, -2.0, 0.0], dtype), tmp_path)


def test_in_another_format_numbers_may_differ_by_what_rounding_changes(tmp_path: Path) -> None:
    own = raw([256.0, -512.0, 0.0])
    for values, same in (
        ([256.0, -512.0, 0.0], True),
        ([257.0, -514.0, 0.0], True),
        ([255.0, -510.0, 2.0**-24], True),
        ([257.5, -512.0, 0.0], False),
        ([256.0, -509.5, 0.0], False),
        ([256.0, -512.0, 2.0**-23], False),
    ):
        assert equal(own, raw(values, "F16"), tmp_path) is same, values


def test_other_shapes_and_formats_are_never_equal(tmp_path: Path) -> None:
    own = raw([[1.0, 2.0]])
    assert not equal(own, raw([1.0, 2.0]), tmp_path)
    assert not equal(own, raw([[1.0], [2.0]]), tmp_path)
    assert not equal(RawTensor("I32", own.shape, own.data), own, tmp_path)


@pytest.mark.parametrize("at", [0, 2**20 - 1, 2**20, 2**20 + 6])
def test_a_large_tensor_is_compared_to_its_end(at: int, tmp_path: Path) -> None:
    own = np.ones(2**20 + 7, "<f4")
    theirs = own.copy()
    assert equal(raw(own, "BF16"), raw(theirs, "BF16"), tmp_path)
    theirs[at] = 2.0
    assert not equal(raw(own, "BF16"), raw(theirs, "BF16"), tmp_path)


def test_a_file_that_became_shorter_is_told(tmp_path: Path) -> None:
    (tmp_path / SINGLE).write_bytes(bytes(8))
    base = BaseTensor(tmp_path / SINGLE, "F32", (2,), 0)
    with pytest.raises(MalformedFile) as caught:
        is_equal(io.BytesIO(bytes(7)), 0, TensorSpec("F32", (2,), 0, 8), base)
    assert str(caught.value) == "a file of weights became shorter while it was read"


@pytest.mark.parametrize(
    ("name", "extra"),
    [
        ("lm_head.weight", True),
        ("base_model.model.model.norm.bias", True),
        ("module.lm_head.modules_to_save.default.weight", True),
        ("base_model.model.q_proj.lora_B.bias", True),
        ("base_model.model.q_proj.lora_B.default.bias", True),
        ("base_model.model.q_proj.lora_A.bias", False),
        ("base_model.model.q_proj.lora_A.weight", False),
        ("q_proj.lora_magnitude_vector", False),
        ("weight", False),
    ],
)
def test_what_is_a_whole_tensor(name: str, extra: bool) -> None:
    assert is_extra(name) is extra


CURE = (
    "; whole modules cannot be swapped per request. If it was not trained, save the adapter "
    "without it (PEFT: no modules_to_save, save_embedding_layers=False); if it was, train "
    "without it"
)


def judged(
    folder: Path | None, base: dict[str, RawTensor], extras: dict[str, RawTensor]
) -> list[str]:
    """The warnings for what lies beside an upload's factors."""
    if folder is not None:
        (folder / SINGLE).write_bytes(serialise(base))
    shapes = BaseModelShapes("tiny", "LlamaForCausalLM", 1, {}, folder=folder)
    specs, data = {}, b"\xff" * 4
    for name, tensor in extras.items():
        specs[name] = TensorSpec(
            tensor.dtype, tensor.shape, len(data), len(data) + len(tensor.data)
        )
        data += tensor.data
    return list(judge_extras(io.BytesIO(b"\xff" * 3 + data), 3, specs, shapes))


def test_what_is_left_out_is_listed(tmp_path: Path) -> None:
    own = {
        name: raw([float(number)])
        for number, name in enumerate(("a.bias", "b.weight", "c.bias", "d.bias", "e.bias"))
    }
    names = list(own)
    assert judged(tmp_path, own, {}) == []
    assert judged(tmp_path, own, {"b.weight": own["b.weight"]}) == [
        "'b.weight': equal to the base model's, and left out"
    ]
    assert judged(tmp_path, own, {name: own[name] for name in names[:3]}) == [
        "'a.bias', 'b.weight', 'c.bias': equal to the base model's, and left out"
    ]
    zeros = {f"{name}.lora_B.bias": raw([0.0]) for name in "qkvoud"}
    assert judged(tmp_path, own, {**zeros, **own}) == [
        "'a.bias', 'b.weight', 'c.bias' and 2 more tensors: equal to the base model's, and left "
        "out",
        "'q.lora_B.bias', 'k.lora_B.bias', 'v.lora_B.bias' and 3 more tensors: all zeros, and left "
        "out",
    ]


@pytest.mark.parametrize("value", [1e-30, -1.0, np.nan])
def test_a_bias_of_b_that_is_not_zero_is_told(value: float, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedAdapter) as caught:
        judged(tmp_path, {}, {"q.lora_B.bias": raw([0.0, value])})
    assert str(caught.value) == (
        "'q.lora_B.bias' is not zero: a bias on lora_B is not part of the update that the engine "
        "applies; train without lora_bias"
    )


@pytest.mark.parametrize(
    ("base", "upload", "words"),
    [
        (
            {"a.weight": raw([1.0])},
            {"base_model.model.b.modules_to_save.default.weight": raw([1.0])},
            "the weights hold 'b.weight', and the base model 'tiny' has no such tensor to compare "
            "it with",
        ),
        (
            {"b.weight": raw([[1.0, 2.0]])},
            {"base_model.model.b.weight": raw([[1.0, 2.0], [3.0, 4.0]])},
            "the weights hold 'b.weight' of shape [2, 2], where the base model 'tiny' has [1, 2]: "
            "were tokens added?",
        ),
        (
            {"b.bias": raw([1.0])},
            {"b.base_layer.bias": raw([2.0])},
            "the weights hold 'b.bias', which is not the base model's: it was trained, or comes "
            "from another copy of 'tiny'",
        ),
    ],
)
def test_what_changes_the_base_model_is_told(
    base: dict[str, RawTensor], upload: dict[str, RawTensor], words: str, tmp_path: Path
) -> None:
    with pytest.raises(UnknownTensor) as caught:
        judged(tmp_path, base, upload)
    assert str(caught.value) == words + CURE


def test_without_the_base_models_weights_nothing_is_equal() -> None:
    with pytest.raises(UnknownTensor, match="no such tensor to compare it with"):
        judged(None, {}, {"b.bias": raw([1.0])})
