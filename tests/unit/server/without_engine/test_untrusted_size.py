"""What is too long is refused before it is parsed or tokenised; the rest does not hold others up.

Counted, without a clock: whoever parses or tokenises notes how much it got, and whether the event
loop waited for it. The routes and fields are vLLM's own and ours, all of them.
"""

import ast
import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from router.encoders.base import Encoder
from server.edge.body import json_size
from server.edge.body.large_bodies import LARGE
from server.edge.settings import LimitSettings
from server.engine.structured.settings import StructuredOutputSettings
from server.generation.bounds.body_sizes import MOST_ITEMS, MOST_MESSAGES, MOST_VALUES
from tests.engine.test_contract import PROTOCOLS, ROOT
from tests.support.bare_server import BareServer, bare_server
from tests.unit.server.without_engine.conftest import FROM_FILE, SEEN
from tests.unit.server.without_engine.test_one_reading_of_a_path import BODIES

LIMITS = LimitSettings(max_text_bytes=2048).fitted(2048)
LENGTH = LIMITS.text_bytes + 1
JSON = {"Content-Type": "application/json"}
OURS = {
    ("POST", "/v1/route"): {"input": "one"},
    ("POST", "/v1/imports"): {"name": "new", "source": "file:///x"},
    ("POST", "/v1/load_lora_adapter"): {"lora_name": "new", "lora_path": "x"},
    ("POST", "/v1/unload_lora_adapter"): {"lora_name": "nope"},
    ("POST", f"/v1/adapters/{SEEN}/restore"): {"digest": "0" * 8},
    ("PATCH", f"/v1/adapters/{SEEN}"): {"description": "one"},
    ("PUT", "/v1/policies/new"): {"kind": "softmax"},
}
"""Our own routes that read JSON, with the least that they take."""

CLASSES = {
    "/v1/chat/completions": ["ChatCompletionRequest"],
    "/v1/completions": ["CompletionRequest"],
    "/v1/responses": ["ResponsesRequest"],
    "/tokenize": ["TokenizeCompletionRequest", "TokenizeChatRequest"],
    "/detokenize": ["DetokenizeRequest"],
}


def fields_of(path: str) -> list[str]:
    """Every field that vLLM's source has for a route, and one that nobody knows."""
    found = ["nobody_knows"]
    for name in CLASSES[path]:
        tree = ast.parse((ROOT / PROTOCOLS[name]).read_text())
        cls = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == name)
        found += [
            node.target.id
            for node in cls.body
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        ]
    return sorted(set(found) - {"model_config"})


@dataclass
class Noted:
    """What was parsed and tokenised: how much, and whether the event loop waited."""

    parsed: list[tuple[int, bool]] = field(default_factory=list)
    values: list[int] = field(default_factory=list)
    texts: list[tuple[int, bool]] = field(default_factory=list)
    reached: list[dict[str, Any]] = field(default_factory=list)

    def check(self) -> None:
        """Nothing large on the event loop, nothing past its bound anywhere."""
        assert [size for size, waits in self.parsed if waits and size > LARGE] == []
        assert [one for one in self.values if one > json_size.MOST_VALUES + 1] == []
        assert [size for size, waits in self.texts if waits] == []
        assert [size for size, _ in self.texts if size > LIMITS.text_bytes] == []
        for body in self.reached:
            assert longest(body) <= LIMITS.text_bytes, list(body)


def longest(value: Any) -> int:
    """The longest text or list of a body that reached the engine."""
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, dict):
        return max([0, *map(longest, value), *map(longest, value.values())])
    if isinstance(value, list):
        return max([len(value), *map(longest, value[:9]), *map(longest, value[-9:])])
    return 0


def on_the_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def count(value: Any) -> int:
    """Values within one."""
    waiting, found = [value], 0
    while waiting:
        one = waiting.pop()
        found += 1
        inner = one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
        waiting.extend(inner)
    return found


@pytest.fixture(scope="module")
def held(
    tiny_base: Path,
    encoder: Encoder,
    tiny_adapters: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[BareServer]:
    """A server that takes short texts: what is longer is soon made."""
    folder = tmp_path_factory.mktemp("held")
    with bare_server(folder, tiny_base, encoder, FROM_FILE, limits=LIMITS) as server:
        server.push(SEEN, tiny_adapters["r8-a"], description="sums")
        yield server


@pytest.fixture
def noted(held: BareServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Noted]:
    """Whatever is parsed by Python's JSON, and whatever the encoder is given, is noted."""
    found, parse = Noted(), json.loads
    encoder = held.parts.catalogue.router.encoder
    encode = type(encoder).encode

    def parsing(raw: Any, **options: Any) -> Any:
        # Whose turn it is, is seen in the same thread that parses.
        found.parsed.append((len(raw), on_the_loop()))
        value = parse(raw, **options)
        found.values.append(count(value))
        return value

    def encoding(self: Any, texts: Any) -> Any:
        found.texts += [(len(text.encode()), on_the_loop()) for text in texts]
        return encode(self, texts)

    monkeypatch.setattr(json, "loads", parsing)
    monkeypatch.setattr(type(encoder), "encode", encoding)
    for route in held.app.router.routes:
        if getattr(route, "path", None) in CLASSES:
            monkeypatch.setattr(route, "app", reaching(route.app, found))
    yield found
    found.check()


def reaching(app: Any, found: Noted) -> Any:
    """The engine's route, which notes what reaches it."""

    async def noting(scope: Any, receive: Any, send: Any) -> None:
        found.reached.append(scope["state"]["json"])
        await app(scope, receive, send)

    return noting


def send(held: BareServer, path: str, raw: bytes, method: str = "POST") -> tuple[int, Any]:
    """Status and body of an answer."""
    answer = held.http.request(method, path, content=raw, headers=JSON)
    return answer.status_code, answer.json()


SHAPES = {
    "a long text": "a" * LENGTH,
    "a long text of many bytes": "漢" * (LENGTH // 3 + 1),
    "many numbers": [1] * (LENGTH + 1),
    "many empty objects": [{}] * (MOST_VALUES + 1),
    "lists of lists": [[[1] * 8] * 8] * (LENGTH // 64 + 1),
    "many keys": {f"k{number}": 1 for number in range(MOST_VALUES + 1)},
    "a long key": {"k" * LENGTH: 1},
    "a message that is long": [{"role": "user", "content": "a" * LENGTH}],
    "many messages": [{"role": "user", "content": "a"}] * (MOST_MESSAGES + 1),
    "many parts": [{"role": "user", "content": [{"type": "text", "text": ""}] * MOST_MESSAGES}],
    "a deep list": json.loads("[" * 100 + '"' + "a" * LENGTH + '"' + "]" * 100),
}
HELD_ELSEWHERE = {"response_format", "structured_outputs", "text"}
"""What an answer is to look like has bounds of its own."""

TAKEN = {("allowed_token_ids", "many numbers")}
"""A vocabulary has more ids than a prompt; these have a bound of their own."""

ENGINE = StructuredOutputSettings()
LISTS = {
    **MOST_ITEMS,
    **dict.fromkeys(("stop", "bad_words"), ENGINE.max_stop_texts),
    **dict.fromkeys(("stop_token_ids", "logit_bias"), ENGINE.max_entries),
    **dict.fromkeys(("allowed_token_ids", "logprob_token_ids"), ENGINE.max_token_ids),
}
"""Fields whose entries cost something at every request or at every token, with their most."""


@pytest.mark.parametrize("path", CLASSES)
def test_no_field_of_the_engines_routes_takes_more_than_a_prompt(held, noted, path):
    for name in fields_of(path):
        if name in HELD_ELSEWHERE:
            continue
        for shape, value in SHAPES.items():
            if (name, shape) in TAKEN:
                continue
            body = json.dumps({**BODIES[path], name: value}).encode()
            status, answer = send(held, path, body)
            assert status in (400, 413), (name, shape, answer)
            assert len(answer["error"]["message"]) < 1000, (name, shape)
            assert noted.reached == [], (name, shape)


def filled(item: str, size: int) -> str:
    """A list of so many bytes, of one item again and again."""
    return "[" + ",".join([item] * (size // (len(item) + 1))) + "]"


NEARLY = LIMITS.body_bytes - 2048
HUGE = {
    "numbers": filled("1", NEARLY),
    "long numbers": filled("1" * 4000, NEARLY),
    "long fractions": "0." + "1" * NEARLY,
    "empty lists": filled("[]", NEARLY),
    "empty objects": filled("{}", NEARLY),
    "objects": filled('{"a":1}', NEARLY),
    "texts": filled('"a"', NEARLY),
    "keys": "{" + ",".join(f'"{number:06}":1' for number in range(NEARLY // 11)) + "}",
    "one key": "{" + ",".join(['"a":1'] * (NEARLY // 6)) + "}",
    "depth": "[" * (NEARLY // 2) + "]" * (NEARLY // 2),
    "depth of objects": '{"a":' * (NEARLY // 6) + "1" + "}" * (NEARLY // 6),
    "a text": '"' + "a" * NEARLY + '"',
    "escapes": '"' + "\\u00e9" * (NEARLY // 6) + '"',
    "backslashes": '"' + "\\\\" * (NEARLY // 2) + '"',
    "quotes": '"' + '\\"' * (NEARLY // 2) + '"',
    "blanks": " " * NEARLY + "1",
    "no end": "[" * NEARLY,
    "no text's end": '"' + "a," * (NEARLY // 2),
}
"""Whole bodies' worth of one value, as it is written."""

NOTHING_MUCH = ("blanks", "long fractions", "long numbers", "one key")
"""What is soon read, and short when it has been: where nobody knows the field, it is no fault."""

FIRST_FIELDS = {
    **{("POST", path): next(iter(body)) for path, body in BODIES.items()},
    **dict.fromkeys(OURS, "examples"),
    ("POST", "/v1/route"): "messages",
}


@pytest.mark.parametrize("kind", HUGE)
def test_a_whole_body_of_anything_holds_nobody_up(held, noted, kind):
    """On every route that reads JSON, in a field that it knows and in one that it does not."""
    for (method, path), known in FIRST_FIELDS.items():
        least = {**BODIES, **{of: body for (_, of), body in OURS.items()}}[path]
        for name in (known, "nobody_knows"):
            rest = json.dumps({key: one for key, one in least.items() if key != name})[1:-1]
            raw = "{" + rest + (", " if rest else "") + f'"{name}": ' + HUGE[kind] + "}"
            status, answer = send(held, path, raw.encode(), method)
            if status == 200:
                assert kind in NOTHING_MUCH, (path, name)
            else:
                assert 400 <= status < 500, (path, name, answer)
                assert len(answer["error"]["message"]) < 1000, (path, name)
    assert noted.reached == [] or kind in NOTHING_MUCH


@pytest.mark.parametrize("path", [*BODIES, *(path for _, path in OURS)])
def test_a_body_that_is_larger_is_not_even_read(held, noted, path):
    method = next((method for method, of in OURS if of == path), "POST")
    raw = b'{"a": "' + b"a" * (17 * 2**20) + b'"}'
    status, answer = send(held, path, raw, method)
    assert (status, answer["error"]["code"]) == (413, "request_too_large")
    assert [size for size, _ in noted.parsed if size > 1000] == []  # the answer is read, too


def test_every_route_that_reads_json_is_tried(held):
    """A route that is new has to be added above."""
    without_json = {
        ("POST", "/v1/responses/{response_id}/cancel"),
        ("POST", "/lora-adapters"),
        ("POST", "/v1/adapters"),
        ("PUT", "/v1/adapters/{name}"),
    }
    tried = {(method, path.replace(SEEN, "{name}")) for method, path in FIRST_FIELDS}
    tried = {(method, path.replace("policies/new", "policies/{name}")) for method, path in tried}
    changing = {
        (method, route.path)
        for route in held.app.router.routes
        for method in getattr(route, "methods", None) or ()
        if method in ("POST", "PUT", "PATCH")
    }
    assert changing - without_json == tried


@pytest.mark.parametrize("name", LISTS)
def test_lists_whose_entries_cost_something_are_short(held, noted, name):
    items = LISTS[name]
    texts: Any = [str(number) for number in range(items + 1)]
    numbers: Any = {str(number): 1 for number in range(items + 1)}
    for path in ("/v1/completions", "/v1/chat/completions"):
        for value in (texts, numbers):
            status, answer = send(held, path, json.dumps({**BODIES[path], name: value}).encode())
            assert (status, answer["error"]["param"]) == (400, name)
            assert f"at most {items}" in answer["error"]["message"]
    assert noted.reached == []


def test_no_more_token_ids_are_made_a_text_than_ordinary_text_has(held, noted):
    most = LIMITS.ids_of_text
    assert 4 * most == LIMITS.text_bytes
    status, answer = send(held, "/detokenize", json.dumps({"tokens": [1] * (most + 1)}).encode())
    assert (status, answer["error"]["param"]) == (400, "tokens")
    assert f"at most {most}" in answer["error"]["message"]
    assert noted.reached == []


def test_the_dry_run_reads_no_more_than_a_prompt(held, noted):
    long = "a" * LENGTH
    for name, value in {
        "input": long,
        "prompt": long,
        "messages": [{"role": "user", "content": long}],
    }.items():
        status, answer = send(held, "/v1/route", json.dumps({name: value}).encode())
        assert (status, answer["error"]["param"]) == (400, name)
    assert noted.texts == []
    assert send(held, "/v1/route", json.dumps({"input": long[9:]}).encode())[0] == 200
    assert noted.texts != []


MOST = LIMITS.text_bytes
FITS = {
    "/v1/completions": [
        {"prompt": "a" * MOST},
        {"prompt": ["a" * MOST] * 64},
        {"prompt": [1] * MOST},
        {"prompt": [[49151] * 2048] * 64},
        {"prompt": "a", "allowed_token_ids": list(range(ENGINE.max_token_ids))},
        {
            "prompt": "a",
            "stop_token_ids": [1] * ENGINE.max_entries,
            "stop": ["x"] * ENGINE.max_stop_texts,
        },
        {"prompt": "a", "bad_words": ["x"] * ENGINE.max_stop_texts},
        {"prompt": "a", "logit_bias": dict.fromkeys(map(str, range(300)), 1)},
    ],
    "/v1/chat/completions": [
        {"messages": [{"role": "user", "content": "a" * (MOST - 256)}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}] * 2}] * 30},
    ],
    "/v1/responses": [{"input": "a" * (MOST - 256), "instructions": "b"}],
    "/tokenize": [{"prompt": "a" * MOST}],
    "/detokenize": [{"tokens": [1] * LIMITS.ids_of_text}],
}


@pytest.mark.parametrize("path", FITS)
def test_what_fits_reaches_the_engine_as_it_was_sent(held, noted, path):
    for body in FITS[path]:
        status, answer = send(held, path, json.dumps({"model": SEEN, **body}).encode())
        assert status == 200, answer
        reached = noted.reached.pop()
        assert {name: reached[name] for name in body} == body


def test_null_and_other_kinds_are_still_refused_by_their_readers(held, noted):
    for prompt in ([1, "a"], [["a"]], [{}], [[1], "a", 3], [None], [1.5], [True]):
        raw = json.dumps({"model": SEEN, "prompt": prompt}).encode()
        status, answer = send(held, "/v1/completions", raw)
        assert (status, answer["error"]["param"]) == (400, "prompt"), prompt
    assert noted.reached == []


def test_answers_are_counted_over_all_prompts(held, noted):
    few = LIMITS.max_answers // 64
    for prompts, n, status in ((64, few, 200), (64, few + 1, 400), (1, 64, 200), (1, 65, 400)):
        raw = json.dumps({"model": SEEN, "prompt": ["a"] * prompts, "n": n}).encode()
        got, answer = send(held, "/v1/completions", raw)
        assert got == status, answer
        assert status == 200 or answer["error"]["param"] == "n"
