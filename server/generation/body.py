"""The body of a generation request: read strictly, and cleaned before vLLM sees it.

vLLM's schemas hold fields by which a client could steer the scheduler, other caches or the engine's
extensions. Those that would change what is served are refused; those that only name things are
dropped.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from adapters.errors import shown
from server.errors import InvalidRequest, MalformedJson, UnsupportedParameter
from server.generation.selection import OUR_FIELDS

_DROPPED = frozenset({"request_id", "session_id", "priority", "cache_salt"})
_REFUSED = frozenset({"kv_transfer_params", "ec_transfer_params", "prompt_embeds", "chat_template"})
_REFUSED_IF_TRUE = frozenset({"background", "use_beam_search"})
_RESERVED_XARGS = frozenset({"loralloy", "kv_transfer_params", "ec_transfer_params"})
_SALT = re.compile(r"[^@/\\\0]{1,128}")


@dataclass(frozen=True, slots=True)
class Cleaned:
    """A body fit for vLLM, and what was taken out of it.

    Attributes:
        fields: the body without our fields.
        user_salt: the client's ``cache_salt``.
        tells_mixture: whether each streamed chunk is to carry the mixture.
    """

    fields: dict[str, Any]
    user_salt: str | None
    tells_mixture: bool


@dataclass(frozen=True, slots=True)
class UsageWish:
    """What a client wants of a stream's token counts.

    Attributes:
        final: a last chunk that counts all.
        each: a running count in each chunk, too.
    """

    final: bool
    each: bool


def counting(fields: Mapping[str, Any]) -> tuple[dict[str, Any], UsageWish] | None:
    """Let every chunk of a stream count its tokens, which tells whose mixture it has to show.

    Args:
        fields: a cleaned body of a chat or a completion.

    Returns:
        The body that counts, and what the client itself asked for; None if what it asked for is no
        answer to that, and vLLM has to say so.
    """
    options = fields.get("stream_options")
    options = {} if options is None else options
    if not isinstance(options, Mapping):
        return None
    final, each = options.get("include_usage"), options.get("continuous_usage_stats")
    if not all(value is None or isinstance(value, bool) for value in (final, each)):
        return None
    counted = {**options, "include_usage": True, "continuous_usage_stats": True}
    return {**fields, "stream_options": counted}, UsageWish(bool(final), bool(each))


def parse_object(raw: bytes) -> dict[str, Any]:
    """Read a JSON object as JSON defines it: no NaN, no half of a surrogate pair.

    Raises:
        MalformedJson: it is none.
    """
    try:
        value = json.loads(raw.decode(), parse_constant=_refuse_constant)
        if b"\\u" in raw:
            # Half of a surrogate pair can be escaped in JSON, but no tokeniser takes it.
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise MalformedJson(
            f"the body is not valid JSON: {error.msg} (line {error.lineno}, column {error.colno})"
        ) from None
    except UnicodeError:
        raise MalformedJson("the body is not valid Unicode") from None
    except RecursionError:
        raise MalformedJson("the body is nested too deeply") from None
    except ValueError as error:
        raise MalformedJson(f"the body is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise MalformedJson("the body must be a JSON object")
    return value


def clean(body: Mapping[str, Any], max_choices: int) -> Cleaned:
    """Take out what is ours, and refuse what no client may say.

    Args:
        body: the request's.
        max_choices: most answers to one prompt (``n``).

    Raises:
        UnsupportedParameter: a field that this server does not honour.
        InvalidRequest: a field of the wrong type.
    """
    for field in _REFUSED:
        if body.get(field) is not None:
            raise UnsupportedParameter(f"{field!r} is not supported here", param=field)
    for field in _REFUSED_IF_TRUE:
        if body.get(field):
            raise UnsupportedParameter(f"{field!r} is not supported here", param=field)
    if body.get("priority"):
        raise UnsupportedParameter(
            "requests have no priorities here; leave 'priority' out", param="priority"
        )
    _check_choices(body.get("n"), max_choices)
    _check_xargs(body.get("vllm_xargs"))
    unseen = OUR_FIELDS | _DROPPED | _REFUSED
    fields = {name: value for name, value in body.items() if name not in unseen}
    tells_mixture = _take_include_mixture(fields)
    return Cleaned(fields, _salt(body.get("cache_salt")), tells_mixture)


def _check_choices(choices: object, most: int) -> None:
    """Anything but a whole number, such as a text that vLLM would take for one, is refused.

    Answers are told apart by it, so that no second reading of it may differ.
    """
    if choices is None:
        return
    if isinstance(choices, bool) or not isinstance(choices, int):
        raise InvalidRequest(f"'n' must be a whole number, not {shown(choices)}", param="n")
    if choices > most:
        raise InvalidRequest(
            f"'n' is {shown(choices)}; at most {most} answers are given to a prompt", param="n"
        )


def _check_xargs(xargs: object) -> None:
    if not isinstance(xargs, Mapping):
        return
    for key in xargs:
        if key in _RESERVED_XARGS or str(key).startswith("loralloy"):
            raise UnsupportedParameter(
                f"'vllm_xargs' cannot hold {key!r}: it is reserved", param="vllm_xargs"
            )


def _take_include_mixture(fields: dict[str, Any]) -> bool:
    options = fields.get("stream_options")
    if not isinstance(options, Mapping) or "include_mixture" not in options:
        return False
    wanted = options["include_mixture"]
    if wanted is not None and not isinstance(wanted, bool):
        raise InvalidRequest(
            "'stream_options.include_mixture' must be true or false",
            param="stream_options.include_mixture",
        )
    rest = {name: value for name, value in options.items() if name != "include_mixture"}
    fields["stream_options"] = rest
    if not rest:
        del fields["stream_options"]
    if wanted and not fields.get("stream"):
        raise InvalidRequest(
            "'stream_options' is for streams; set 'stream' to true", param="stream_options"
        )
    return bool(wanted)


def _salt(salt: object) -> str | None:
    if salt is None:
        return None
    if not isinstance(salt, str) or _SALT.fullmatch(salt) is None:
        raise InvalidRequest(
            "'cache_salt' must be a text of 1 to 128 characters without '@', '/' and '\\'",
            param="cache_salt",
        )
    return salt


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number in JSON")
