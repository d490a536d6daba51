"""Whatever bytes arrive: refused by one of our errors, or right. Never another exception."""

import gzip
import io
import json
import tempfile
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.archive import place_files, unpack_archive
from adapters.errors import AdapterError
from adapters.files import WEIGHTS_FILE
from adapters.format.peft_config import LoraConfigFacts, parse_config
from adapters.format.safetensors_header import read_header
from adapters.limits import Limits
from adapters.validation.base_model import BaseModelShapes
from adapters.validation.validate import validate
from tests.support import archives
from tests.support.broken_adapters import GoodAdapter
from tests.support.safetensors_bytes import with_header

SMALL = Limits(max_weights_bytes=2**20, max_config_bytes=2**16, max_ignored_bytes=2**16)
budget = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)

numbers = st.one_of(st.integers(-2, 20), st.integers(2**62, 2**65), st.booleans(), st.floats())
scalars = st.one_of(numbers, st.none(), st.text(max_size=8))
entries = st.one_of(
    scalars,
    st.fixed_dictionaries(
        {
            "dtype": st.sampled_from(["F32", "BF16", "F16", "I8", "F64", 3]),
            "shape": st.one_of(scalars, st.lists(numbers, max_size=3)),
            "data_offsets": st.one_of(scalars, st.lists(numbers, max_size=3)),
        }
    ),
)


def mutate(content: bytes, edits: list[tuple[int, int]], cut: int) -> bytes:
    """Overwrite some bytes, then drop the end."""
    changed = bytearray(content)
    for at, value in edits:
        changed[at % len(changed)] = value
    return bytes(changed[: len(changed) - cut])


edits = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=8)
cuts = st.one_of(st.just(0), st.integers(0, 400))


def refusal(action: Callable[[], object]) -> str:
    """The message of our error, or nothing if all went well; other errors fail the test."""
    try:
        action()
    except AdapterError as error:
        return str(error)
    return ""


@budget
@given(
    header=st.dictionaries(st.text(max_size=6), entries, max_size=4), data=st.binary(max_size=64)
)
def test_headers_of_any_content(header: dict[str, Any], data: bytes) -> None:
    file = io.BytesIO(with_header(json.dumps(header).encode(), data))
    try:
        parsed = read_header(file, 2**16)
    except AdapterError:
        return
    spans = sorted((spec.begin, spec.end) for spec in parsed.tensors.values())
    assert sum(end - begin for begin, end in spans) == len(data)
    assert all(0 <= begin <= end <= len(data) for begin, end in spans)


@budget
@given(content=st.binary(max_size=300))
def test_any_bytes_as_weights(content: bytes) -> None:
    assert refusal(lambda: read_header(io.BytesIO(content), 2**16)).isprintable()


@budget
@given(edits=edits, cut=cuts)
def test_damaged_weights(
    edits: list[tuple[int, int]], cut: int, good_folder: Path, base: BaseModelShapes
) -> None:
    config = (good_folder / "adapter_config.json").read_bytes()
    weights = (good_folder / "adapter_model.safetensors").read_bytes()
    near_the_header = [(at % 3000, value) for at, value in edits]
    with tempfile.TemporaryDirectory() as folder:
        damaged = io.BytesIO(mutate(weights, near_the_header, cut))
        place_files(io.BytesIO(config), damaged, Path(folder), SMALL, WEIGHTS_FILE)
        assert folder not in refusal(lambda: validate(Path(folder), base, SMALL))


@budget
@given(edits=edits, cut=cuts, is_zip=st.booleans())
def test_damaged_archives(
    edits: list[tuple[int, int]], cut: int, is_zip: bool, good_folder: Path
) -> None:
    members = GoodAdapter.read(good_folder).members("top/")
    content = archives.zip_of(members) if is_zip else archives.tar_gz_of(members)
    damaged = io.BytesIO(mutate(content, edits, cut))
    with tempfile.TemporaryDirectory() as folder:
        assert folder not in refusal(lambda: unpack_archive(damaged, Path(folder), SMALL))
        names = {path.name for path in Path(folder).iterdir()}
        assert names <= {"adapter_config.json", "adapter_model.safetensors"}


FOUND = {
    "a zip whose entry has no name": (
        "UEsDBDZUfhYcQKqb5bP3trvWE7QfqQBQSwECFAAAAAgAAAAhAKO7zV3UAQAAnQQAABMAAAAAAACAAAAAAIABEAAAAGFk"
        "PXCdBgAAAAAAAGlnLmpzb25QSwECFAMUAAAAAAgAACEAmp94I0IBAADoAgAAGQAAAAAAAAAAAAAAAACAAQAAAAAAAAIA"
        "dGVyX21vZGVsLnNhZmV0ZW5zb3JzUEsFBgAAAAACAAIAiAAAAH4DAAAAAA=="
    ),
}
"""What `tests/soak/fuzz_uploads.py` has found, in base64."""


@pytest.mark.parametrize("archive", FOUND.values(), ids=FOUND)
def test_what_the_fuzzer_found_is_refused(archive: str, tmp_path: Path) -> None:
    assert refusal(lambda: unpack_archive(io.BytesIO(b64decode(archive)), tmp_path, SMALL))
    assert list(tmp_path.iterdir()) == []


@budget
@given(edits=edits, cut=st.integers(0, 2000))
def test_damaged_plain_tars(edits: list[tuple[int, int]], cut: int, good_folder: Path) -> None:
    members = GoodAdapter.read(good_folder).members()
    plain = gzip.decompress(archives.tar_gz_of(members))
    in_headers = [(at % 512, value) for at, value in edits]
    damaged = io.BytesIO(gzip.compress(mutate(plain, in_headers, cut), 1))
    with tempfile.TemporaryDirectory() as folder:
        assert folder not in refusal(lambda: unpack_archive(damaged, Path(folder), SMALL))


json_values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
fields = [
    "alpha_pattern",
    "bias",
    "exclude_modules",
    "init_lora_weights",
    "layers_pattern",
    "layers_to_transform",
    "lora_alpha",
    "peft_type",
    "r",
    "rank_pattern",
    "target_modules",
    "use_rslora",
]


@budget
@given(config=st.dictionaries(st.sampled_from(fields), json_values))
def test_configs_of_any_content(config: dict[str, Any]) -> None:
    complete = {"peft_type": "LORA", "target_modules": ["q_proj"]} | config
    parsed: list[LoraConfigFacts] = []
    assert refusal(lambda: parsed.append(parse_config(complete))).isprintable()
    assert all(facts.r >= 1 and facts.lora_alpha > 0 for facts in parsed)
