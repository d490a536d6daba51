"""The values that describe an adapter to the rest of the server."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class RoutingData:
    """What the router may know of an adapter: texts it is for, or vectors that stand for them.

    Attributes:
        examples: texts that it is for.
        description: what it is for, in a sentence; None if nobody has said.
        centroids: vectors [n, width] in the space of ``encoder``; the nearest counts.
        encoder: the name of the encoder that made them; None without any.
    """

    examples: tuple[str, ...] = ()
    description: str | None = None
    centroids: tuple[tuple[float, ...], ...] = ()
    encoder: str | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """One content that a name has, or had.

    Attributes:
        number: from 1; never given twice.
        digest: of the content.
        created: when the name was given it, in seconds since 1970 (UTC).
        warnings: as an adapter's.
    """

    number: int
    digest: str
    created: float
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Adapter:
    """A validated adapter in the store, under one of its names.

    Attributes:
        name: what requests call it.
        digest: SHA-256 (hex) of its stored content; equal digests mean equal weights.
        path: absolute folder with ``adapter_config.json`` and ``adapter_model.safetensors``.
        base_model: the base model that its config names, if any.
        rank: the largest rank of any module.
        ranks: the distinct ranks, ascending.
        lora_alpha: the config's default; single modules may differ.
        target_modules: module suffixes really touched, such as ``self_attn.q_proj``, sorted.
        size_bytes: bytes of both stored files.
        parameters: number of weights.
        created: when the name was given this content, in seconds since 1970 (UTC).
        version: number of this content among those that the name has had, from 1.
        routing: what the router may know of it.
        warnings: what was noticed about the upload of this version although it can be served.
        removing: whether it is on its way out: it takes no new requests, and does not come back.
    """

    name: str
    digest: str
    path: Path
    base_model: str | None
    rank: int
    ranks: tuple[int, ...]
    lora_alpha: float
    target_modules: tuple[str, ...]
    size_bytes: int
    parameters: int
    created: float
    version: int = 1
    routing: RoutingData = field(default_factory=RoutingData)
    warnings: tuple[str, ...] = ()
    removing: bool = False
