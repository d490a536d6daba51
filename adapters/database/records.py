"""What is kept of an adapter beside its two files, and how it stands in the database."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from adapters.adapter import Adapter, RoutingData
from adapters.errors import InvalidRouting, MalformedFile
from adapters.routing_data import parse_vectors
from adapters.validation.base_model import BaseModelShapes

MAX_ROUTING_BYTES = 2**26
"""64 MiB of routing data as JSON; nearly all of it would be example texts."""


@dataclass(frozen=True, slots=True)
class Record:
    """An adapter as it is kept.

    Attributes:
        adapter: under its name, at its version.
        fitted: the base model that it was validated against, by :func:`fit_key`.
    """

    adapter: Adapter
    fitted: str


@dataclass(frozen=True, slots=True)
class Problem:
    """A name that could not be taken up again at start.

    Attributes:
        name: of the adapter.
        reason: why, for people.
    """

    name: str
    reason: str


def fit_key(base: BaseModelShapes) -> str:
    """A text equal for base models that take the same adapters."""
    linears = ",".join(
        f"{suffix}:{out}x{in_}" for suffix, (out, in_) in sorted(base.linears.items())
    )
    return f"{base.name}|{base.num_layers}|{linears}"


def content_row(record: Record) -> dict[str, Any]:
    """What the table of contents holds of an adapter."""
    adapter = record.adapter
    return {
        "digest": adapter.digest,
        "base_model": adapter.base_model,
        "rank": adapter.rank,
        "ranks": list(adapter.ranks),
        "lora_alpha": adapter.lora_alpha,
        "target_modules": list(adapter.target_modules),
        "size_bytes": adapter.size_bytes,
        "parameters": adapter.parameters,
        "fitted": record.fitted,
    }


def routing_row(routing: RoutingData) -> dict[str, Any]:
    """Routing data as JSON values.

    Raises:
        InvalidRouting: they are larger than what is kept.
    """
    row = {
        **asdict(routing),
        "examples": list(routing.examples),
        "centroids": [list(centroid) for centroid in routing.centroids],
    }
    size = len(json.dumps(row, ensure_ascii=False).encode())
    if size > MAX_ROUTING_BYTES:
        raise InvalidRouting(
            f"the routing data take {size} bytes; {MAX_ROUTING_BYTES} are kept at most"
        )
    return row


def record_of(row: Mapping[str, Any], locate: Callable[[str], Path]) -> Record:
    """Read a record back.

    Args:
        row: the columns of a name, its version and its content.
        locate: digest → absolute folder of the content.

    Raises:
        MalformedFile: a field is of the wrong type.
    """
    try:
        adapter = Adapter(
            name=row["name"],
            digest=row["digest"],
            path=locate(row["digest"]),
            base_model=row["base_model"],
            rank=row["rank"],
            ranks=tuple(int(rank) for rank in row["ranks"]),
            lora_alpha=row["lora_alpha"],
            target_modules=tuple(map(str, row["target_modules"])),
            size_bytes=row["size_bytes"],
            parameters=row["parameters"],
            created=row["created"],
            version=row["number"],
            routing=_routing_of(row["routing"]),
            warnings=tuple(map(str, row["warnings"])),
            removing=bool(row["removing"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MalformedFile("a field of the record is missing or of the wrong type") from error
    return Record(adapter, row["fitted"])


def _routing_of(document: Mapping[str, object]) -> RoutingData:
    centroids = document["centroids"]
    description, encoder = document["description"], document["encoder"]
    return RoutingData(
        examples=tuple(map(str, cast("list[str]", document["examples"]))),
        description=None if description is None else str(description),
        centroids=parse_vectors(centroids) if centroids else (),
        encoder=None if encoder is None else str(encoder),
    )
