"""Fields that this server does not know and whose name says that they name an adapter: refused.

What is not known is dropped, as OpenAI's and vLLM's clients expect, but not these: whoever sends
one of them would get an answer of the base model, or of a policy, for one of the adapter.

The rule goes by the field's name, wherever it stands: in the body, in objects within it that
nobody knows (``extra_body``, ``options``, ``nvext``), in the query, among the headers.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

from starlette.types import Scope

from adapters.errors import shown
from server.errors import InvalidRequest, UnsupportedParameter

MAX_UNKNOWN: Final = 10_000
"""Fields looked at within objects that nobody knows: far more than any client sends."""

_OUR_HEADERS: Final = "x-loralloy-"
_MAX_QUERY: Final = 100
_SHOWN: Final = 200

# Words that only hold the four letters are none: exploration, colorado, deplorable.
_FAMILY = re.compile(
    r"adapt[eo]r|(?<!exp)(?<!imp)(?<!dep)(?<!co)lora(?!lloy)|peft|expert|mixture", re.IGNORECASE
)

OTHERS: Final = frozenset({"routed_experts_prompt_start"})
"""Fields of vLLM's that sound so and name no adapter."""

CONTENT: Final = frozenset(
    {
        *("messages", "prompt", "input", "documents", "prediction", "previous_input_messages"),
        *(
            "metadata",
            "include",
            "image",
            "access_programs",
            "context_management",
            "background_options",
        ),
        *("tools", "tool_choice", "functions", "function_call", "web_search_options"),
        *("response_format", "text", "structured_outputs", "stream_options", "logit_bias"),
        *("stop", "bad_words", "chat_template_kwargs", "mm_processor_kwargs", "media_io_kwargs"),
        *("mm_payload", "repetition_detection", "watermarking", "reasoning", "audio"),
        *("modalities", "conversation", "prompt_cache_options", "moderation"),
    }
)
"""Fields of OpenAI's and vLLM's that hold what is said, or are read whole by who defines them: what
stands in them names nothing of this server."""


def refuse_unknown(body: Mapping[str, Any]) -> None:
    """Let a body through in which no unknown field names an adapter; null is absent.

    Args:
        body: a request's, without the fields of this server's own.

    Raises:
        UnsupportedParameter: a field does, or there are too many to look at.
    """
    for number, path in enumerate(_unknown(body)):
        if number >= MAX_UNKNOWN:
            raise UnsupportedParameter(
                f"the body has more than {MAX_UNKNOWN} fields that this server does not know; "
                "leave them out"
            )
        if _FAMILY.search(path[-1]):
            param = ".".join(path)
            raise UnsupportedParameter(_message(param), param=param[:_SHOWN])


def refuse_beside_body(scope: Scope) -> None:
    """Let a request through whose query and headers name no adapter.

    Args:
        scope: the request's, as the guard leaves it: with the names of all its headers.

    Raises:
        UnsupportedParameter: one does.
        InvalidRequest: the query has too many fields to look at.
    """
    try:
        query = scope.get("query_string", b"").decode("latin-1")
        fields = parse_qsl(query, keep_blank_values=True, max_num_fields=_MAX_QUERY)
    except ValueError:
        raise InvalidRequest(
            f"the query has more than {_MAX_QUERY} fields; leave them out"
        ) from None
    headers = scope["state"].get("header_names", ())
    foreign = [name for name in headers if not name.startswith(_OUR_HEADERS)]
    for name in (*(name for name, _ in fields), *foreign):
        if _FAMILY.search(name):
            raise UnsupportedParameter(_message(name), param=name[:_SHOWN])


def _message(param: str) -> str:
    return (
        f"{shown(param)} is not supported by this server, and would name an adapter that is not "
        "applied; give one adapter's name as 'model', 'adapter_id' or 'lora_path', several with "
        "weights in 'mixture', all as fields of the body"
    )


def _unknown(body: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """The paths of fields that nobody knows, without those that are null; one at a time."""
    passed = OTHERS | CONTENT
    rest: list[Iterator[tuple[tuple[str, ...], Any]]]
    rest = [iter([((name,), value) for name, value in body.items() if name not in passed])]
    while rest:
        path, value = next(rest[-1], ((), None))
        if not path:
            rest.pop()
        elif value is not None:
            yield path
            rest.append(_within(path, value))


def _within(path: tuple[str, ...], value: object) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The fields of an object, or of the objects of a list."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield (*path, str(name)), inner
    elif isinstance(value, list):
        for inner in value:
            if isinstance(inner, Mapping | list):
                yield path, inner
