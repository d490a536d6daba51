"""Null is absent: what a client leaves undecided is not told to whoever reads the body next.

Clients that fill every field of a form send null for what they do not say, and libraries disagree
whether a field may hold it. What is a document of the client's own, such as a JSON schema, in which
null has a meaning, stays as it is.
"""

from typing import Any, Final

DOCUMENTS: Final = frozenset(
    {
        *("schema", "json", "parameters", "input_schema", "arguments", "structural_tag"),
        *("metadata", "vllm_xargs", "chat_template_kwargs", "mm_processor_kwargs"),
        *("media_io_kwargs", "documents", "logit_bias", "adapters", "weights"),
    }
)
"""Fields whose content is a document, or maps names of the client's to values."""

DEPTH: Final = 12
"""How deep fields that we, OpenAI or vLLM know can lie."""


def without_nulls(value: Any, depth: int = DEPTH) -> Any:  # noqa: ANN401 - any JSON
    """A JSON value without the fields that are null, documents as they are.

    Args:
        value: as :mod:`json` reads it.
        depth: how deep it is looked into.
    """
    if depth == 0:
        return value
    if isinstance(value, dict):
        return {
            key: one if key in DOCUMENTS else without_nulls(one, depth - 1)
            for key, one in value.items()
            if one is not None
        }
    if isinstance(value, list):
        return [
            without_nulls(one, depth - 1) if isinstance(one, dict | list) else one for one in value
        ]
    return value
