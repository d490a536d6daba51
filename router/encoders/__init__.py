"""Text encoders: one file each, found by name, imported when first asked for.

A specification is ``kind:model`` or plainly ``model``, where a model is a local folder or a hub
name: ``/models/all-MiniLM-L6-v2``, ``sentence_transformer:BAAI/bge-small-en-v1.5``,
``static:static-smollm2`` (bundled).
"""

from importlib import import_module
from typing import cast

from router.encoders.base import Encoder
from router.errors import EncoderFailed, listed

DEFAULT_KIND = "sentence_transformer"

# The models' libraries take seconds to import, so a kind names its module and its class.
ENCODERS = {
    "sentence_transformer": ("router.encoders.sentence_transformer", "SentenceTransformerEncoder"),
    "static": ("router.encoders.static", "StaticEncoder"),
}


def make_encoder(
    spec: str, *, local_files_only: bool = True, **options: int | str | None
) -> Encoder:
    """Load the encoder that a specification names.

    Args:
        spec: ``kind:model`` or ``model``.
        local_files_only: never fetch anything; a hub name then means an already cached copy.
        options: further arguments of a sentence_transformer; the other kinds have none, and compute
            so little that they need none.

    Raises:
        EncoderFailed: the kind is unknown or the model cannot be loaded.
    """
    kind, colon, model = spec.partition(":")
    if not colon:
        kind, model = DEFAULT_KIND, spec
    if kind not in ENCODERS:
        raise EncoderFailed(f"there is no encoder kind {kind!r}; known kinds: {listed(ENCODERS)}")
    module, factory = ENCODERS[kind]
    make = getattr(import_module(module), factory)
    given = options if kind == DEFAULT_KIND else {}
    return cast(Encoder, make(model, local_files_only=local_files_only, **given))


__all__ = ["DEFAULT_KIND", "ENCODERS", "Encoder", "make_encoder"]
