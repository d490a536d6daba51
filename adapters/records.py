"""One JSON file per adapter name: which content the name stands for, and what is known of it."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

from adapters.adapter import Adapter, RoutingData
from adapters.base_model import BaseModelShapes
from adapters.errors import InvalidRouting, MalformedFile
from adapters.limits import Limits
from adapters.vectors import parse_vectors

RECORD_VERSION = 2
_SINGLE_CENTROID = 1
"""The version whose routing data held one ``centroid``; still read."""

RECORD_SUFFIX = ".json"
MAX_RECORD_BYTES = 2**26
"""64 MiB; nearly all of it would be example texts."""

_MAX_CENTROID = 2**14
_HEX_DIGEST_CHARS = 64


@dataclass(frozen=True, slots=True)
class Record:
    """An adapter as kept on disk, with the shapes that it was validated against."""

    adapter: Adapter
    fitted: str


@dataclass(frozen=True, slots=True)
class Problem:
    """A name that could not be taken up again at start, and why."""

    name: str
    reason: str


def fit_key(base: BaseModelShapes) -> str:
    """A text equal for base models that take the same adapters."""
    linears = ",".join(
        f"{suffix}:{out}x{in_}" for suffix, (out, in_) in sorted(base.linears.items())
    )
    return f"{base.name}|{base.num_layers}|{linears}"


def encode_record(record: Record) -> bytes:
    """Write a record as JSON; the path is left out, so that the data folder may be moved."""
    document = asdict(record.adapter)
    del document["path"]
    document |= {"version": RECORD_VERSION, "fitted": record.fitted}
    return json.dumps(document, ensure_ascii=False, indent=1, sort_keys=True).encode() + b"\n"


def decode_record(
    document: Mapping[str, object], name: str, locate: Callable[[str], Path]
) -> Record:
    """Read a record back.

    Args:
        document: The parsed JSON.
        name: The name that the file's own name gives.
        locate: Digest → absolute folder of the content.

    Raises:
        MalformedFile: a field is missing or of the wrong type.
    """
    version = document.get("version")
    if version not in (_SINGLE_CENTROID, RECORD_VERSION) or document.get("name") != name:
        raise MalformedFile("the record is of another version or another adapter")
    try:
        digest = cast("str", document["digest"])
        if len(digest) != _HEX_DIGEST_CHARS or not set(digest) <= set("0123456789abcdef"):
            raise MalformedFile("the record's digest is none")
        base_model = document["base_model"]
        adapter = Adapter(
            name=name,
            digest=digest,
            path=locate(digest),
            base_model=None if base_model is None else str(base_model),
            rank=int(cast("int", document["rank"])),
            ranks=tuple(int(rank) for rank in cast("list[int]", document["ranks"])),
            lora_alpha=float(cast("float", document["lora_alpha"])),
            target_modules=tuple(map(str, cast("list[str]", document["target_modules"]))),
            size_bytes=int(cast("int", document["size_bytes"])),
            parameters=int(cast("int", document["parameters"])),
            created=float(cast("float", document["created"])),
            routing=_decode_routing(
                cast("Mapping[str, object]", document["routing"]),
                "centroid" if version == _SINGLE_CENTROID else "centroids",
            ),
        )
        return Record(adapter, str(document["fitted"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MalformedFile("a field of the record is missing or of the wrong type") from error


def check_routing(routing: RoutingData, limits: Limits) -> RoutingData:
    """Return routing data that can be kept and used.

    Raises:
        InvalidRouting: too many or too long texts, too many centroids, or one that is no direction.
    """
    texts = [*routing.examples, *([routing.description] if routing.description else [])]
    if len(routing.examples) > limits.max_examples:
        raise InvalidRouting(
            f"{len(routing.examples)} examples were given; {limits.max_examples} are kept at most"
        )
    for text in texts:
        if not text.strip() or len(text) > limits.max_example_chars or not _is_unicode(text):
            raise InvalidRouting(
                "each example and the description must be valid Unicode of 1 to "
                f"{limits.max_example_chars} characters, not only blanks"
            )
    if len(routing.centroids) > limits.max_centroids:
        raise InvalidRouting(
            f"{len(routing.centroids)} centroids were given; an adapter has"
            f" {limits.max_centroids} at most"
        )
    if not all(map(_is_direction, routing.centroids)):
        raise InvalidRouting(
            f"a centroid must have 1 to {_MAX_CENTROID} finite numbers, not all of them 0"
        )
    return routing


def _is_unicode(text: str) -> bool:
    """False for half a surrogate pair, which JSON can smuggle in and no tokenizer takes."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _is_direction(vector: tuple[float, ...]) -> bool:
    return (
        0 < len(vector) <= _MAX_CENTROID
        and all(math.isfinite(value) for value in vector)
        and any(vector)
    )


def _decode_routing(document: Mapping[str, object], field: str) -> RoutingData:
    centroids = document[field]
    description, encoder = document["description"], document["encoder"]
    return RoutingData(
        examples=tuple(map(str, cast("list[str]", document["examples"]))),
        description=None if description is None else str(description),
        centroids=parse_vectors(centroids) if centroids else (),
        encoder=None if encoder is None else str(encoder),
    )
