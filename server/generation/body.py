"""The body of a generation request: read strictly, and cleaned before vLLM sees it.

vLLM's schemas hold fields by which a client could steer the scheduler, other caches or the engine's
extensions. Those that would change what is served are refused; those that only name things are
dropped.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adapters.errors import shown
from server.errors import InvalidRequest, UnsupportedParameter
from server.generation.selection import OUR_FIELDS
from server.generation.tools import with_object_schemas

_DROPPED = frozenset({"request_id", "session_id", "priority", "cache_salt"})
_REFUSED = frozenset({"kv_transfer_params", "ec_transfer_params", "prompt_embeds", "chat_template"})
_REFUSED_IF_TRUE = frozenset({"background", "use_beam_search"})
_RESERVED_XARGS = frozenset({"loralloy", "kv_transfer_params", "ec_transfer_params"})
_SALT = re.compile(r"[^@/\\\0]{1,128}")


@dataclass(frozen=True, slots=True)
class CleanBody:
    """A body fit for vLLM, and what was taken out of it.

    Attributes:
        fields: the body without our fields.
        user_salt: the client's ``cache_salt``.
        tells_mixture: whether each streamed chunk is to carry the mixture.
    """

    fields: dict[str, Any]
    user_salt: str | None
    tells_mixture: bool


def clean(body: Mapping[str, Any], max_choices: int) -> CleanBody:
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
            raise UnsupportedParameter(
                f"{field!r} is not supported by this server; leave it out", param=field
            )
    for field in _REFUSED_IF_TRUE:
        if body.get(field):
            raise UnsupportedParameter(
                f"{field!r} is not supported by this server; leave it out", param=field
            )
    if body.get("priority"):
        raise UnsupportedParameter(
            "requests have no priorities here; leave 'priority' out", param="priority"
        )
    _check_choices(body.get("n"), max_choices)
    _check_xargs(body.get("vllm_xargs"))
    tools = with_object_schemas(body.get("tools"))
    unseen = OUR_FIELDS | _DROPPED | _REFUSED
    fields = {name: value for name, value in body.items() if name not in unseen}
    if tools is not None:
        fields["tools"] = tools
    tells_mixture = _take_include_mixture(fields)
    return CleanBody(fields, _salt(body.get("cache_salt")), tells_mixture)


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
            f"'n' is {shown(choices)}; a prompt can have at most {most} answers", param="n"
        )


def _check_xargs(xargs: object) -> None:
    if not isinstance(xargs, Mapping):
        return
    for key in xargs:
        if key in _RESERVED_XARGS or str(key).startswith("loralloy"):
            raise UnsupportedParameter(
                f"'vllm_xargs' cannot hold {key!r}, which is reserved; leave it out",
                param="vllm_xargs",
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
