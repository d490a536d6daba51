"""What each method of the clients sends, as plain values; nothing is sent here.

The parts that all share, and what is asked of models and of the server itself. Adapters, policies
and jobs have files of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

from loralloy_client._form import Form
from loralloy_client._options import ChatOptions, CompletionOptions
from loralloy_client._replies import REQUEST_ID
from loralloy_client._retry import Repeat
from loralloy_client.generations import Mixture

READY_S, MIN_WAIT_S = 10.0, 0.1

Json = Mapping[str, Any]
Messages = Sequence[Json]

_OUTSIDE_THE_BODY = frozenset({"mixture", "extra_body", "request_id", "timeout"})


@dataclass(frozen=True)
class Request:
    """One request.

    Attributes:
        path: below the server's address.
        body: what goes out as JSON, or None.
        form: what goes out as a form, or None.
        repeat: whether it may be sent again.
        timeout: seconds for each read or write; None for the client's own.
    """

    method: str
    path: str
    body: Json | None = None
    form: Form | None = None
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    repeat: Repeat = Repeat.SAFE
    timeout: float | None = None


def get(path: str, *names: str, **query: str) -> Request:
    """Read what is behind a path; each of ``names`` is one more step of it."""
    return Request("GET", path_of(path, *names), query=query)


def probe(path: str) -> Request:
    """Ask how the server is, now: not again if it says that it is not."""
    return Request("GET", path, repeat=Repeat.NEVER)


def ready(left_s: float) -> Request:
    """Ask a server that may still be starting, and do not wait for it long."""
    return replace(probe("/ready"), timeout=min(READY_S, max(left_s, MIN_WAIT_S)))


def trace(request_id: str, *, expand: bool) -> Request:
    """Which mixture made each token of an answer."""
    return get("/v1/traces", request_id, **({"expand": "true"} if expand else {}))


def audit(limit: int, before: int | None) -> Request:
    """What admins did."""
    older = {} if before is None else {"before": str(before)}
    return get("/v1/audit", **{"limit": str(limit), **older})


def chat(messages: str | Messages, options: ChatOptions, *, stream: bool) -> Request:
    """A chat; a text stands for one message of the user."""
    check_known(options, ChatOptions.__optional_keys__)
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    return _generation("/v1/chat/completions", {"messages": list(messages)}, options, stream)


def complete(
    prompt: str | Sequence[str] | Sequence[int], options: CompletionOptions, *, stream: bool
) -> Request:
    """A completion of one text, of several, or of one text's token ids."""
    check_known(options, CompletionOptions.__optional_keys__)
    texts = prompt if isinstance(prompt, str) else list(prompt)
    return _generation("/v1/completions", {"prompt": texts}, options, stream)


def route(text: str | Messages, policy: str | None, routing: Json | None) -> Request:
    """The dry run of a policy."""
    body = {
        "input": text if isinstance(text, str) else list(text),
        "policy": policy,
        "routing": None if routing is None else dict(routing),
    }
    given = {name: value for name, value in body.items() if value is not None}
    return Request("POST", "/v1/route", body=given)


def if_match(expected: str | None) -> dict[str, str]:
    """The header that binds a change to what was seen."""
    return {} if expected is None else {"If-Match": f'"{expected}"'}


def path_of(path: str, *names: str) -> str:
    """A path with one more step for each name.

    Raises:
        ValueError: a name is empty.
    """
    if not all(names):
        raise ValueError(f"{path} needs a name, which is empty")
    return "/".join([path, *(quote(name, safe="") for name in names)])


def check_known(given: Mapping[str, object], known: frozenset[str]) -> None:
    """Refuse what only a slip of the pen explains."""
    unknown = sorted(given.keys() - known)
    if unknown:
        raise TypeError(
            f"there is no option {unknown[0]!r}; other fields of a request go into extra_body"
        )


def _generation(
    path: str, prompt: Json, options: ChatOptions | CompletionOptions, stream: bool
) -> Request:
    body = {
        **prompt,
        **{
            name: value
            for name, value in options.items()
            if value is not None and name not in _OUTSIDE_THE_BODY
        },
    }
    mixture = options.get("mixture")
    if mixture is not None:
        body["mixture"] = _mixture(mixture)
    if stream:
        body["stream"] = True
        body["stream_options"] = {"include_mixture": True, **(options.get("stream_options") or {})}
    request_id = options.get("request_id")
    return Request(
        "POST",
        path,
        body={**body, **(options.get("extra_body") or {})},
        headers={} if request_id is None else {REQUEST_ID: request_id},
        timeout=options.get("timeout"),
    )


def _mixture(given: Mixture | Mapping[str, float]) -> Json:
    """What was applied to one answer can be given for the next."""
    if isinstance(given, Mixture):
        return {"adapters": given.adapters, "combination": given.combination}
    return {"adapters": dict(given)}
