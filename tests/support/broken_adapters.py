"""Broken uploads of every sort, made from one good adapter, with the code each must be refused by.

They hold for any good adapter of a decoder with fewer than 9999 layers, under default limits.
"""

import gzip
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import archives
from tests.support.safetensors_bytes import RawTensor, parse, serialise, with_header

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"

Files = dict[str, tuple[str, bytes]]
"""Form field (``config`` and ``file``, or ``archive``) → file name and content."""


@dataclass(frozen=True)
class BrokenUpload:
    """One upload that must be refused: the files to send and the expected error code."""

    name: str
    files: Files
    code: str


@dataclass(frozen=True)
class GoodAdapter:
    """The parts that broken ones are made of."""

    config: dict[str, Any]
    tensors: dict[str, RawTensor]

    @classmethod
    def read(cls, folder: Path) -> "GoodAdapter":
        """Read a correct adapter."""
        config = json.loads((folder / CONFIG).read_text())
        return cls(config, parse((folder / WEIGHTS).read_bytes()))

    @property
    def first_a(self) -> str:
        """The name of some lora_A."""
        return next(name for name in self.tensors if ".lora_A." in name)

    @property
    def first_b(self) -> str:
        """The name of its lora_B."""
        return self.first_a.replace(".lora_A.", ".lora_B.")

    def config_bytes(self, **changes: object) -> bytes:
        """The config with some fields changed."""
        return json.dumps(self.config | changes).encode()

    def weights_bytes(self, **changes: "RawTensor | None") -> bytes:
        """The weights with some tensors changed, added or (None) left out."""
        merged: dict[str, RawTensor | None] = {**self.tensors, **changes}
        return serialise({name: t for name, t in merged.items() if t is not None})

    def renamed(self, old: str, new: str) -> bytes:
        """The weights with a piece of every tensor's name replaced."""
        return serialise({name.replace(old, new): t for name, t in self.tensors.items()})

    def files(self, config: bytes | None = None, weights: bytes | None = None) -> Files:
        """The two bare files, either of them replaced."""
        return {
            "config": (CONFIG, self.config_bytes() if config is None else config),
            "file": (WEIGHTS, self.weights_bytes() if weights is None else weights),
        }

    def members(self, prefix: str = "") -> list[tuple[str, bytes]]:
        """Both files as archive members."""
        return [
            (prefix + CONFIG, self.config_bytes()),
            (prefix + WEIGHTS, self.weights_bytes()),
        ]


def broken_uploads(good_folder: Path) -> list[BrokenUpload]:
    """All broken uploads that can be made from the good adapter in a folder."""
    good = GoodAdapter.read(good_folder)
    groups = (_broken_configs, _broken_files, _broken_tensors, _broken_zips, _broken_tars)
    return [BrokenUpload(*case) for group in groups for case in group(good)]


Case = tuple[str, Files, str]


def _broken_configs(good: GoodAdapter) -> Iterator[Case]:
    changes: list[tuple[str, dict[str, object], str]] = [
        ("dora", {"use_dora": True}, "adapter_unsupported"),
        ("bias of no known sort", {"bias": "some"}, "adapter_unsupported"),
        ("activated lora", {"alora_invocation_tokens": [1, 2]}, "adapter_unsupported"),
        ("layer replication", {"layer_replication": [[0, 2]]}, "adapter_unsupported"),
        ("qalora", {"use_qalora": True}, "adapter_unsupported"),
        ("target parameters", {"target_parameters": ["experts.w"]}, "adapter_unsupported"),
        ("pissa init", {"init_lora_weights": "pissa_niter_4"}, "adapter_unsupported"),
        ("olora init", {"init_lora_weights": "olora"}, "adapter_unsupported"),
        ("ia3", {"peft_type": "IA3"}, "adapter_unsupported"),
        ("no peft type", {"peft_type": None}, "adapter_unsupported"),
        ("custom code", {"auto_map": {"AutoModel": "evil.Model"}}, "adapter_unsupported"),
        ("unknown switch", {"use_next_years_idea": True}, "adapter_unsupported"),
        ("absurd rank", {"r": 10**9}, "adapter_rank_too_large"),
        ("absurd rank pattern", {"rank_pattern": {"q_proj": 4096}}, "adapter_rank_too_large"),
        ("rank of zero", {"r": 0}, "adapter_config_invalid"),
        ("rank as text", {"r": "8"}, "adapter_config_invalid"),
        ("rank as truth value", {"r": True}, "adapter_config_invalid"),
        ("negative alpha", {"lora_alpha": -16}, "adapter_config_invalid"),
        ("no targets", {"target_modules": None}, "adapter_config_invalid"),
        (
            "slow pattern",
            {"alpha_pattern": {"(([a-z]|[a-z._0-9])+)+[0-9]": 1}},
            "adapter_config_invalid",
        ),
        ("no pattern", {"target_modules": "(?<!a*)q_proj"}, "adapter_config_invalid"),
        ("other targets", {"target_modules": ["lm_head"]}, "adapter_target_mismatch"),
        ("other base", {"base_model_name_or_path": "org/Other-7B"}, "adapter_incompatible_base"),
    ]
    for name, change, code in changes:
        yield f"config: {name}", good.files(config=good.config_bytes(**change)), code
    mismatch = good.config_bytes(r=good.config["r"] * 2, rank_pattern={})
    yield "config: rank unlike the tensors'", good.files(config=mismatch), "adapter_rank_mismatch"


def _broken_files(good: GoodAdapter) -> Iterator[Case]:
    weights = good.weights_bytes()
    configs = [
        ("empty", b"", "adapter_malformed"),
        ("no JSON", b"{'r': 8}", "adapter_malformed"),
        ("a list", b"[]", "adapter_malformed"),
        ("not a number", b'{"peft_type": "LORA", "r": 8, "lora_alpha": NaN}', "adapter_malformed"),
        ("repeated key", b'{"peft_type": "LORA", "r": 8, "r": 9}', "adapter_malformed"),
        ("nested deeply", b'{"r":' + b"[" * 100_000, "adapter_malformed"),
        ("huge", good.config_bytes() + b" " * 2**21, "adapter_too_large"),
    ]
    for name, content, code in configs:
        yield f"config file: {name}", good.files(config=content), code
    entry = '"dtype":"F32","shape":[1]'
    overlap = f'{{"a":{{{entry},"data_offsets":[0,4]}},"b":{{{entry},"data_offsets":[0,4]}}}}'
    contents = [
        ("empty", b"", "adapter_malformed"),
        ("truncated data", weights[:-100], "adapter_malformed"),
        ("truncated header", weights[:50], "adapter_malformed"),
        ("appended bytes", weights + b"\0" * 16, "adapter_malformed"),
        ("absurd header length", b"\xff" * 8 + weights[8:], "adapter_malformed"),
        ("overlap", with_header(overlap.encode(), bytes(8)), "adapter_malformed"),
        ("no tensors", with_header(b"{}"), "adapter_empty"),
        ("pickle inside", b"\x80\x02}q\x00(X\x04\x00\x00\x00evilq\x01.", "adapter_unsafe_file"),
        ("checkpoint inside", archives.zip_of([("data.pkl", b"evil")]), "adapter_unsafe_file"),
    ]
    for name, content, code in contents:
        yield f"weights file: {name}", good.files(weights=content), code
    pickled = good.files() | {"file": ("adapter_model.bin", weights)}
    yield "weights file: called .bin", pickled, "adapter_unsafe_file"


def _broken_tensors(good: GoodAdapter) -> Iterator[Case]:
    a, b = good.first_a, good.first_b
    tensor_a, tensor_b = good.tensors[a], good.tensors[b]
    nan = {"F32": b"\0\0\xc0\x7f", "F16": b"\0\x7e", "BF16": b"\xc0\x7f"}[tensor_a.dtype]
    infinity = {"F32": b"\0\0\x80\xff", "F16": b"\0\xfc", "BF16": b"\x80\xff"}[tensor_b.dtype]
    extreme = {"F32": b"\0\0\0\x7f", "F16": b"\xff\x7b", "BF16": b"\0\x7f"}[tensor_a.dtype]
    rank, width = tensor_a.shape
    one = RawTensor("F32", (1,), b"\0\0\x80\x3f")
    doubled = RawTensor("F64", tensor_a.shape, bytes(8 * rank * width))
    head = "base_model.model.lm_head.lora_A.weight"
    weights = [
        ("NaN", good.weights_bytes(**{a: tensor_a.filled(nan)}), "adapter_not_finite"),
        ("infinity", good.weights_bytes(**{b: tensor_b.filled(infinity)}), "adapter_not_finite"),
        (
            "extreme",
            good.weights_bytes(**{a: tensor_a.filled(extreme)}),
            "adapter_weights_out_of_range",
        ),
        ("no lora_B", good.weights_bytes(**{b: None}), "adapter_missing_pair"),
        ("no lora_A", good.weights_bytes(**{a: None}), "adapter_missing_pair"),
        (
            "narrow A",
            good.weights_bytes(**{a: tensor_a.reshaped(rank, width // 2)}),
            "adapter_shape_mismatch",
        ),
        (
            "wide B",
            good.weights_bytes(**{b: tensor_b.reshaped(tensor_b.shape[0] + 1, rank)}),
            "adapter_shape_mismatch",
        ),
        (
            "three dimensions",
            good.weights_bytes(**{a: tensor_a.reshaped(1, rank, width)}),
            "adapter_shape_mismatch",
        ),
        (
            "A of another rank",
            good.weights_bytes(**{a: tensor_a.reshaped(rank + 1, width)}),
            "adapter_rank_mismatch",
        ),
        (
            "B of another rank",
            good.weights_bytes(**{b: tensor_b.reshaped(tensor_b.shape[0], rank + 1)}),
            "adapter_rank_mismatch",
        ),
        (
            "trained head",
            good.weights_bytes(**{"base_model.model.lm_head.weight": one}),
            "adapter_unknown_tensor",
        ),
        (
            "trained bias on B",
            good.weights_bytes(**{b.replace(".weight", ".bias"): one}),
            "adapter_unsupported",
        ),
        ("double precision", good.weights_bytes(**{a: doubled}), "adapter_dtype_unsupported"),
        (
            "missing layer",
            good.renamed(".layers.0.", ".layers.9999."),
            "adapter_layer_out_of_range",
        ),
        ("no layer", good.renamed(".layers.", ".blocks."), "adapter_unsupported_module"),
        ("output head", good.weights_bytes(**{head: tensor_a}), "adapter_unsupported_module"),
        ("unserved module", good.renamed("_proj.", "_rotary."), "adapter_unsupported_module"),
        (
            "magnitude vector",
            good.weights_bytes(**{a.replace("lora_A", "lora_magnitude_vector"): tensor_a}),
            "adapter_unknown_tensor",
        ),
        (
            "given twice",
            good.weights_bytes(**{a.removeprefix("base_model.model."): tensor_a}),
            "adapter_malformed",
        ),
    ]
    for name, content, code in weights:
        yield f"tensors: {name}", good.files(weights=content), code


def _archive(content: bytes, name: str) -> Files:
    return {"archive": (name, content)}


def _broken_zips(good: GoodAdapter) -> Iterator[Case]:
    members = good.members()
    passwd = archives.symlink_zip_entry(WEIGHTS)
    contents = [
        ("climbs out", archives.zip_of([*members, ("../evil", b"x")]), "adapter_unsafe_archive"),
        ("absolute name", archives.zip_of([*members, ("/evil", b"x")]), "adapter_unsafe_archive"),
        ("backslashes", archives.zip_of([("a\\..\\evil", b"x")]), "adapter_unsafe_archive"),
        (
            "symbolic link",
            archives.zip_of([members[0], (passwd, b"/etc/passwd")]),
            "adapter_unsafe_archive",
        ),
        ("duplicate", archives.zip_with_duplicate(members), "adapter_unsafe_archive"),
        ("encrypted", archives.encrypted_zip(members), "adapter_unsafe_archive"),
        (
            "pickled weights",
            archives.zip_of([members[0], ("adapter_model.BIN", b"x"), *good.members("below/")]),
            "adapter_unsafe_file",
        ),
        ("bomb", archives.zip_of([(CONFIG, b" " * 2**23), members[1]]), "adapter_too_large"),
        (
            "thousands of entries",
            archives.zip_of([*members, *((f"f{i}", b"") for i in range(20_000))]),
            "adapter_too_large",
        ),
        ("empty", archives.zip_of([]), "adapter_missing_file"),
        ("weights alone", archives.zip_of(members[1:]), "adapter_missing_file"),
        (
            "two adapters",
            archives.zip_of([*good.members("a/"), *good.members("b/")]),
            "adapter_malformed",
        ),
        ("truncated", archives.zip_of(members)[:-30], "adapter_malformed"),
    ]
    for name, content, code in contents:
        yield f"zip: {name}", _archive(content, "adapter.zip"), code
    yield "archive: of no known kind", _archive(b"Rar!\x1a\x07", "adapter.rar"), "adapter_malformed"


def _broken_tars(good: GoodAdapter) -> Iterator[Case]:
    members = good.members()
    kinds: list[tuple[str, bytes]] = [
        ("symbolic link", tarfile.SYMTYPE),
        ("hard link", tarfile.LNKTYPE),
        ("device", tarfile.CHRTYPE),
        ("pipe", tarfile.FIFOTYPE),
    ]
    for name, kind in kinds:
        entry = archives.tar_entry(WEIGHTS, kind, "/etc/passwd")
        content = archives.tar_gz_of([members[0], (entry, b"")])
        yield f"tar: {name}", _archive(content, "adapter.tar.gz"), "adapter_unsafe_archive"
    whole = archives.tar_gz_of(members)
    contents: list[tuple[str, bytes, str]] = [
        ("climbs out", archives.tar_gz_of([("a/../../evil", b"x")]), "adapter_unsafe_archive"),
        ("absolute name", archives.tar_gz_of([("/evil", b"x")]), "adapter_unsafe_archive"),
        ("duplicate", archives.tar_gz_of([*members, members[0]]), "adapter_unsafe_archive"),
        ("bomb", archives.tar_gz_of([(CONFIG, b" " * 2**23)]), "adapter_too_large"),
        ("huge header", archives.tar_gz_with_huge_extended_header(), "adapter_too_large"),
        ("truncated", whole[: len(whole) // 2], "adapter_malformed"),
        ("no tar inside", gzip.compress(b"hello" * 1000), "adapter_malformed"),
        ("config alone", archives.tar_gz_of(members[:1]), "adapter_missing_file"),
    ]
    for name, content, code in contents:
        yield f"tar: {name}", _archive(content, "adapter.tar.gz"), code
