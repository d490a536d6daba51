"""The worst that one key can send, in one table: every route, and the fields that cost most.

Each is sent by some workers again and again. What the server refuses belongs here as much as what
it takes: refusing must cost nobody else anything.
"""

import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

LENGTH: Final = 2048
"""``max_model_len`` of the server that is measured."""

TEXT: Final = 16 * LENGTH
"""Its ``limits.max_text_bytes``."""

BODY: Final = 2**20 - 4096
"""Nearly its ``limits.max_body_bytes``."""

WORKERS: Final = 4
MANY: Final = 32


@dataclass(frozen=True)
class Attack:
    """Requests of one kind, which so many workers send.

    Attributes:
        title: what is bad about them.
        path: the route.
        body: number of a request → its body, so that no two prompts are alike.
        workers: how many send it at once.
        method: the route's.
        headers: beside the key and the content type.
    """

    title: str
    path: str
    body: Callable[[int], bytes]
    workers: int = WORKERS
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)


COMPLETIONS, CHAT, RESPONSES = "/v1/completions", "/v1/chat/completions", "/v1/responses"
ASKED: Final[Mapping[str, Any]] = {"model": "base", "temperature": 0, "ignore_eos": True}
"""Of every generation: the base model, to the last token asked for."""

SAMPLED: Final[Mapping[str, Any]] = {**ASKED, "temperature": 1}
"""Of one with several answers, which would be equal at temperature 0."""


def ids(number: int, count: int) -> list[int]:
    """A prompt of so many token ids that no other request has."""
    return [1000 + (number * 7919 + place * 31) % 40_000 for place in range(count)]


def ordinary(number: int) -> bytes:
    """A full-length request: three quarters of it prompt, a quarter answer."""
    prompt = ids(number, LENGTH * 3 // 4)
    return written({**ASKED, "prompt": prompt, "max_tokens": LENGTH // 4})


def full_prompt(number: int) -> bytes:
    """A prompt that leaves room for one token."""
    return written({**ASKED, "prompt": ids(number, LENGTH - 1), "max_tokens": 1})


def written(body: Mapping[str, Any]) -> bytes:
    """A body's bytes."""
    return json.dumps(body).encode()


def always(body: Mapping[str, Any] | bytes) -> Callable[[int], bytes]:
    """The same body each time."""
    raw = body if isinstance(body, bytes) else written(body)
    return lambda number: raw


def repeated(item: str, size: int = BODY) -> bytes:
    """A body whose prompt is a list of one item, of so many bytes."""
    return f'{{"prompt": [{",".join([item] * (size // (len(item) + 1)))}]}}'.encode()


def keys(size: int) -> bytes:
    """A body of nothing but fields."""
    return ("{" + ",".join(f'"{number:07}":1' for number in range(size // 12)) + "}").encode()


def said(**body: object) -> bytes:
    """A chat of one short message, with these fields."""
    return written({**ASKED, "messages": [{"role": "user", "content": "Hello"}], **body})


def schema(properties: Mapping[str, Any]) -> bytes:
    """A chat whose answer is to be an object with all of these properties."""
    wanted = {"type": "object", "properties": properties, "required": list(properties)}
    named = {"type": "json_schema", "json_schema": {"name": "x", "schema": wanted}}
    return said(response_format=named, max_tokens=1)


def tools(count: int) -> list[dict[str, Any]]:
    """Tools that none is."""
    return [{"type": "function", "function": {}} for _ in range(count)]


MESSAGE: Final = {"role": "user", "content": "a"}
WIDE: Final = "\N{GRINNING FACE}"

PARSING = (
    Attack("16 MB of JSON fields", COMPLETIONS, always(keys(2**24))),
    Attack("a whole body of JSON fields", COMPLETIONS, always(keys(BODY))),
    Attack("as many fields as are parsed", COMPLETIONS, always(keys(12 * (2**15 - 8)))),
    Attack("a whole body of empty lists", COMPLETIONS, always(repeated("[]"))),
    Attack("a whole body of empty objects", CHAT, always(repeated("{}"))),
    Attack("a whole body of numbers", RESPONSES, always(repeated("1"))),
    Attack("as many numbers as are parsed", "/tokenize", always(repeated("1", 2 * 2**18 - 64))),
    Attack("a whole body of texts", "/v1/route", always(repeated('"a"'))),
    Attack("a whole body of escapes", CHAT, always(repeated('"' + "\\u00e9" * 4096 + '"'))),
    Attack("deep JSON", COMPLETIONS, always(b'{"prompt":' + b"[" * BODY)),
    Attack(
        "a packed body that unpacks to 64 MB",
        COMPLETIONS,
        always(gzip.compress(b" " * 2**26)),
        headers={"Content-Encoding": "gzip"},
    ),
)
TOKENISING = (
    Attack("5 MB of text to tokenise", "/tokenize", always({"prompt": "a" * 5_000_000})),
    Attack("a whole text to tokenise", "/tokenize", always({"prompt": "a" * TEXT})),
    Attack(
        "a whole text of emoji, with their tokens",
        "/tokenize",
        always({"prompt": WIDE * (TEXT // 4), "return_token_strs": True}),
    ),
    Attack("512 messages to tokenise", "/tokenize", always({"messages": [MESSAGE] * 512})),
    Attack("3 million ids to detokenise", "/detokenize", always({"tokens": [1] * 3_000_000})),
    Attack("a whole text's ids to detokenise", "/detokenize", always({"tokens": [1] * TEXT})),
    Attack("a text for the router", "/v1/route", always({"input": "word " * (TEXT // 5)})),
    Attack(
        "a body full of texts that never fit",
        COMPLETIONS,
        always({**ASKED, "prompt": ["a" * TEXT] * (BODY // TEXT - 1)}),
    ),
    Attack(
        "a long text cut to five tokens",
        COMPLETIONS,
        always({**ASKED, "prompt": "a" * TEXT, "truncate_prompt_tokens": 5, "max_tokens": 1}),
    ),
)
CHECKING = (
    Attack("512 empty objects as input", RESPONSES, always({"input": [{}] * 512})),
    Attack(
        "512 wrong calls as input",
        RESPONSES,
        always({"input": [{"type": "function_call"}] * 512}),
    ),
    Attack("512 messages", CHAT, always({**ASKED, "messages": [MESSAGE] * 512})),
    Attack("512 wrong messages", CHAT, always({"messages": [{"role": 1}] * 512})),
    Attack("128 wrong tools", CHAT, always(said(tools=tools(128)))),
    Attack("4,000 documents", CHAT, always(said(documents=[1] * 4000))),
    Attack(
        "a bias of 1,024 tokens, 16,384 allowed",
        CHAT,
        always(
            said(
                logit_bias={str(number): 1 for number in range(1024)},
                allowed_token_ids=list(range(16_384)),
                max_tokens=16,
            )
        ),
    ),
    Attack(
        "11,000 examples",
        "/v1/adapters/maths",
        always({"examples": ["what is two and three"] * 11_000}),
        method="PATCH",
    ),
)
COMPILING = (
    Attack(
        "a choice of 4,000 texts",
        CHAT,
        lambda number: said(
            structured_outputs={"choice": [f"{number} {one} choice" for one in range(4000)]},
            max_tokens=1,
        ),
    ),
    Attack(
        "a choice of as many texts as are read",
        CHAT,
        lambda number: said(
            structured_outputs={"choice": [f"{number} {one} choice" for one in range(1000)]},
            max_tokens=1,
        ),
    ),
    Attack(
        "a nested regular expression, as long as is read",
        CHAT,
        lambda number: said(
            structured_outputs={"regex": f"(((a{{1,9}}){{1,9}}b{number}){{1,9}}c)*"},
            max_tokens=1,
        ),
    ),
    Attack(
        "a nested regular expression",
        CHAT,
        lambda number: said(
            structured_outputs={"regex": f"(((a{{1,99}}){{1,99}}b{number}){{1,99}}c)*"},
            max_tokens=1,
        ),
    ),
    Attack(
        "a schema of 2,000 properties",
        CHAT,
        lambda number: schema({f"p{number}_{one}": {"type": "string"} for one in range(2000)}),
    ),
    Attack(
        "a schema of as many properties as are read",
        CHAT,
        lambda number: schema({f"p{number}_{one}": {"type": "string"} for one in range(1000)}),
    ),
    Attack(
        "a schema of 900 long texts",
        CHAT,
        lambda number: schema(
            {f"p{number}_{one}": {"type": "string", "maxLength": 4000 + one} for one in range(900)}
        ),
    ),
)
GENERATING = (
    Attack("full-length prompts", COMPLETIONS, full_prompt),
    Attack(
        "64 full-length prompts in one request",
        COMPLETIONS,
        lambda number: written(
            {
                **ASKED,
                "prompt": [ids(64 * number + one, LENGTH - 1) for one in range(64)],
                "max_tokens": 1,
            }
        ),
    ),
    Attack(
        "64 answers of full length",
        COMPLETIONS,
        lambda number: written(
            {**SAMPLED, "prompt": ids(number, 32), "n": 64, "max_tokens": LENGTH - 40}
        ),
    ),
    Attack(
        "64 prompts with 4 answers each, 64 stop texts",
        COMPLETIONS,
        lambda number: written(
            {
                **SAMPLED,
                "prompt": [ids(64 * number + one, 64) for one in range(64)],
                "n": 4,
                "max_tokens": LENGTH - 80,
                "stop": [f"nothing says {one}" for one in range(64)],
            }
        ),
    ),
    Attack(
        "many streams with log-probabilities",
        COMPLETIONS,
        lambda number: written(
            {
                **ASKED,
                "prompt": ids(number, 32),
                "max_tokens": LENGTH - 40,
                "stream": True,
                "logprobs": 20,
            }
        ),
        workers=MANY,
    ),
    Attack("many full-length requests and more", COMPLETIONS, ordinary, workers=2 * MANY),
)
ATTACKS: Final = (*PARSING, *TOKENISING, *CHECKING, *COMPILING, *GENERATING)
