"""The values that describe an adapter to the rest of the server."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class RoutingData:
    """What the router may know of an adapter: texts it is for, or vectors that stand for them.

    ``centroids`` are vectors in the space of the encoder named ``encoder``; the nearest counts.
    """

    examples: tuple[str, ...] = ()
    description: str | None = None
    centroids: tuple[tuple[float, ...], ...] = ()
    encoder: str | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """One content that a name has, or had.

    Attributes:
        number: From 1; never given twice.
        digest: Of the content.
        created: When the name was given it, in seconds since 1970 (UTC).
    """

    number: int
    digest: str
    created: float


@dataclass(frozen=True, slots=True)
class Adapter:
    """A validated adapter in the store, under one of its names.

    Attributes:
        name: What requests call it.
        digest: SHA-256 (hex) of its stored content; equal digests mean equal weights.
        path: Absolute folder with ``adapter_config.json`` and ``adapter_model.safetensors``.
        base_model: The base model that its config names, if any.
        rank: The largest rank of any module.
        ranks: The distinct ranks, ascending.
        lora_alpha: The config's default; single modules may differ.
        target_modules: Module suffixes really touched, such as ``self_attn.q_proj``, sorted.
        size_bytes: Bytes of both stored files.
        parameters: Number of weights.
        created: When the name was given this content, in seconds since 1970 (UTC).
        version: Number of this content among those that the name has had, from 1.
        routing: What the router may know of it.
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
