"""What each method of the clients sends, as plain values; nothing is sent here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any
from urllib.parse import quote

from loralloy_client._form import Form, Progress
from loralloy_client._options import ChatOptions, CompletionOptions, RoutingData
from loralloy_client._replies import REQUEST_ID
from loralloy_client._retry import Repeat
from loralloy_client.models import Mixture

READY_S, MIN_WAIT_S = 10.0, 0.1
CONFIG_FILE, WEIGHTS_FILE, ROUTING_FILE = (
    "adapter_config.json",
    "adapter_model.safetensors",
    "router.json",
)

Json = Mapping[str, Any]
Messages = Sequence[Json]
PathOrText = str | PathLike[str]

_OUTSIDE_THE_BODY = frozenset({"mixture", "extra_body", "request_id", "timeout"})
_ROUTING_FIELDS = ("description", "examples", "centroids", "encoder")


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
    said = [{"role": "user", "content": messages}] if isinstance(messages, str) else list(messages)
    return _generation("/v1/chat/completions", {"messages": said}, options, stream)


def complete(
    prompt: str | Sequence[str] | Sequence[int], options: CompletionOptions, *, stream: bool
) -> Request:
    """A completion of one text, of several, or of one text's token ids."""
    check_known(options, CompletionOptions.__optional_keys__)
    said = prompt if isinstance(prompt, str) else list(prompt)
    return _generation("/v1/completions", {"prompt": said}, options, stream)


def route(said: str | Messages, policy: str | None, routing: Json | None) -> Request:
    """The dry run of a policy."""
    body = {
        "input": said if isinstance(said, str) else list(said),
        "policy": policy,
        "routing": None if routing is None else dict(routing),
    }
    given = {name: value for name, value in body.items() if value is not None}
    return Request("POST", "/v1/route", body=given)


Pair = tuple[PathOrText | None, PathOrText | None]


def push(
    name: str,
    path: PathOrText | None,
    pair: Pair,
    routing: RoutingData,
    progress: Progress | None,
) -> Request:
    """The upload of a folder, an archive, or a config with its weights.

    Raises:
        ValueError: both a path and a pair of files are given, or neither.
        FileNotFoundError: a file is missing.
    """
    form = _upload({"name": name}, path, pair, routing, progress)
    return Request("POST", "/v1/adapters", form=form, repeat=Repeat.UNLESS_SENT)


def replacement(
    name: str,
    path: PathOrText | None,
    pair: Pair,
    routing: RoutingData,
    progress: Progress | None,
    expected: str | None,
) -> Request:
    """New content for an adapter; errors as in :func:`push`."""
    form = _upload({}, path, pair, routing, progress)
    place, headers = path_of("/v1/adapters", name), if_match(expected)
    return Request("PUT", place, form=form, headers=headers, repeat=Repeat.UNLESS_SENT)


def description(name: str, routing: RoutingData, expected: str | None) -> Request:
    """New routing data for an adapter; None takes away what there was.

    Raises:
        OSError: the file of examples cannot be read.
    """
    check_known(routing, RoutingData.__optional_keys__)
    body = {
        key: value.read_text("utf-8") if isinstance(value, Path) else value
        for key, value in routing.items()
    }
    place, headers = path_of("/v1/adapters", name), if_match(expected)
    return Request("PATCH", place, body=body, headers=headers, repeat=Repeat.UNLESS_SENT)


def restoration(name: str, digest: str, expected: str | None) -> Request:
    """An adapter's way back to an earlier content."""
    return Request(
        "POST",
        path_of("/v1/adapters", name, "restore"),
        body={"digest": digest},
        headers=if_match(expected),
        repeat=Repeat.UNLESS_SENT,
    )


def _upload(
    texts: dict[str, str],
    path: PathOrText | None,
    pair: Pair,
    routing: RoutingData,
    progress: Progress | None,
) -> Form:
    check_known(routing, RoutingData.__optional_keys__)
    files = _adapter_files(path, pair)
    if path is not None and (beside := Path(path) / ROUTING_FILE).is_file():
        texts |= _routing_beside(beside)
    for key, value in routing.items():
        if isinstance(value, Path):
            texts.pop(key, None)
            files[key] = value
        elif value is not None:
            texts[key] = _as_text(value)
    return Form(texts, files, progress)


def remove(name: str) -> Request:
    """The removal of an adapter."""
    return Request("DELETE", path_of("/v1/adapters", name), repeat=Repeat.UNLESS_SENT)


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
    path: str, said: Json, options: ChatOptions | CompletionOptions, stream: bool
) -> Request:
    body = {
        **said,
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


def _adapter_files(path: PathOrText | None, pair: Pair) -> dict[str, Path]:
    config, weights = pair
    if path is None:
        if config is None or weights is None:
            raise ValueError("give a folder or an archive, or both 'config' and 'weights'")
        return {"config": Path(config), "file": Path(weights)}
    if config is not None or weights is not None:
        raise ValueError("give a folder or an archive, or 'config' and 'weights', not both")
    place = Path(path)
    if not place.is_dir():
        return {"archive": place}
    files = {"config": place / CONFIG_FILE, "file": place / WEIGHTS_FILE}
    for file in files.values():
        if not file.is_file():
            raise FileNotFoundError(f"{place} has no {file.name}; is it a PEFT adapter's folder?")
    return files


def _routing_beside(path: Path) -> dict[str, str]:
    """What a folder's own routing data say."""
    document = json.loads(path.read_text("utf-8"))
    if not isinstance(document, dict):
        raise ValueError(f"{path} must hold a JSON object")
    return {name: _as_text(document[name]) for name in _ROUTING_FIELDS if document.get(name)}


def _as_text(value: object) -> str:
    """A field of the form: texts as they are, lists as JSON."""
    return value if isinstance(value, str) else json.dumps(value)
