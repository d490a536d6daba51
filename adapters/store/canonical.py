"""The one form in which adapters are kept, so that equal adapters have equal digests.

PEFT writes ``target_modules`` in random order, tools add metadata, names come with and without
prefix. What is stored has canonical names in sorted order, no metadata, and a config that names
every module literally: ``rank_pattern`` and ``alpha_pattern`` hold full paths instead of regular
expressions. PEFT and the engine read it to the same update as the original, weights bit for bit.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from adapters.errors import MalformedFile
from adapters.files import CONFIG_FILE, WEIGHTS_FILE
from adapters.format.peft_format import Factor, tensor_name
from adapters.format.safetensors_header import ITEM_BYTES, TensorSpec, open_weights
from adapters.validation.base_identity import public_name
from adapters.validation.validate import AdapterFacts

_CHUNK_BYTES = 2**20
_ALIGNMENT = 8
_DOMAIN = b"loralloy adapter 1\0"


def canonical_config(facts: AdapterFacts) -> bytes:
    """The config that describes the same update with literal module names only."""
    config, pairs = facts.config, facts.pairs
    rank = _most_common(pair.rank for pair in pairs.values())
    alpha = _most_common(pair.alpha for pair in pairs.values())
    document = {
        "alpha_pattern": {m: _number(p.alpha) for m, p in pairs.items() if p.alpha != alpha},
        "base_model_name_or_path": public_name(config.base_model),
        "bias": "none",
        "inference_mode": True,
        "init_lora_weights": True,
        "lora_alpha": _number(alpha),
        "peft_type": "LORA",
        "r": int(rank),
        "rank_pattern": {m: p.rank for m, p in pairs.items() if p.rank != rank},
        "target_modules": list(pairs),
        "task_type": "CAUSAL_LM",
        "use_rslora": config.use_rslora,
    }
    return json.dumps(document, indent=1, sort_keys=True).encode() + b"\n"


def canonical_digest(source: Path, facts: AdapterFacts) -> str:
    """The digest that a validated adapter will have once it is stored; nothing is written."""
    digest = hashlib.sha256(_DOMAIN)
    with open_weights(source / WEIGHTS_FILE) as weights:
        for _, size, chunks in _parts(weights, facts):
            digest.update(size.to_bytes(8, "little"))
            for chunk in chunks:
                digest.update(chunk)
    return digest.hexdigest()


def write_canonical(source: Path, facts: AdapterFacts, destination: Path) -> str:
    """Write the canonical form of a validated adapter into an empty folder, flushed to disk.

    Args:
        source: the folder that ``facts`` were found out from.
        facts: what ``validate`` returned.
        destination: an existing empty folder.

    Returns:
        The digest: SHA-256 (hex) over both files, each preceded by its length.
    """
    digest = hashlib.sha256(_DOMAIN)
    with open_weights(source / WEIGHTS_FILE) as weights:
        for name, size, chunks in _parts(weights, facts):
            _write(destination / name, size, chunks, digest)
    return digest.hexdigest()


def digest_of(folder: Path) -> str:
    """The digest of the stored adapter in a folder, computed anew from its bytes."""
    digest = hashlib.sha256(_DOMAIN)
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        path = folder / name
        digest.update(path.stat().st_size.to_bytes(8, "little"))
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    return digest.hexdigest()


def _parts(weights: BinaryIO, facts: AdapterFacts) -> Iterator[tuple[str, int, Iterator[bytes]]]:
    """Name, size and bytes of both files in their canonical form."""
    tensors = _ordered(facts)
    header = _header(tensors)
    data_bytes = sum(spec.end - spec.begin for _, spec in tensors)
    config = canonical_config(facts)
    yield CONFIG_FILE, len(config), iter([config])
    chunks = _weights_chunks(weights, facts.data_start, header, tensors)
    yield WEIGHTS_FILE, len(header) + data_bytes, chunks


def _most_common(values: Iterable[float]) -> float:
    """The most frequent value, the largest of equally frequent ones."""
    counts = Counter(values)
    return max(counts, key=lambda value: (counts[value], value))


def _number(value: float) -> int | float:
    return int(value) if value.is_integer() else value


def _ordered(facts: AdapterFacts) -> list[tuple[str, TensorSpec]]:
    """All tensors under their canonical names; wider formats first, which keeps data aligned."""
    factors: tuple[Factor, Factor] = ("A", "B")
    tensors = [
        (tensor_name(module, factor), pair.a if factor == "A" else pair.b)
        for module, pair in facts.pairs.items()
        for factor in factors
    ]
    return sorted(tensors, key=lambda item: (-ITEM_BYTES[item[1].dtype], item[0]))


def _header(tensors: list[tuple[str, TensorSpec]]) -> bytes:
    """Length and JSON, padded with spaces so that the data starts aligned."""
    entries: dict[str, object] = {}
    position = 0
    for name, spec in tensors:
        end = position + spec.end - spec.begin
        entries[name] = {
            "dtype": spec.dtype,
            "shape": list(spec.shape),
            "data_offsets": [position, end],
        }
        position = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


def _weights_chunks(
    source: BinaryIO, data_start: int, header: bytes, tensors: list[tuple[str, TensorSpec]]
) -> Iterator[bytes]:
    yield header
    for _, spec in tensors:
        source.seek(data_start + spec.begin)
        remaining = spec.end - spec.begin
        while remaining:
            chunk = source.read(min(remaining, _CHUNK_BYTES))
            if not chunk:
                raise MalformedFile(f"{WEIGHTS_FILE} became shorter while it was read")
            remaining -= len(chunk)
            yield chunk


def _write(path: Path, size: int, chunks: Iterator[bytes], digest: "hashlib._Hash") -> None:
    digest.update(size.to_bytes(8, "little"))
    with path.open("xb") as file:
        for chunk in chunks:
            digest.update(chunk)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    path.chmod(0o444)
