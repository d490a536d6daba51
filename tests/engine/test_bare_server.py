"""Without a C++ compiler plain torch takes the kernel's place, just as exact; without a chat
template a base model is asked in Alpaca's form."""

import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from transformers import AutoTokenizer

from adapters.training.data.templates import TEMPLATES
from tests.engine.test_exactness import assert_equal
from tests.reference.peft_mixture import Reference
from tests.support import running_server
from tests.support.generation import Ask, generate
from tests.support.running_server import RunningServer
from tests.support.tiny_llama import BASE_NAME

PUSHED = ("r8-a", "r8-b", "r32")


@pytest.fixture(scope="module")
def bare(
    tiny_base: Path,
    tiny_adapters: dict[str, Path],
    encoder_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RunningServer]:
    base = tmp_path_factory.mktemp("base") / "tiny"
    shutil.copytree(tiny_base, base)
    (base / "chat_template.jinja").unlink()
    with running_server.running(
        tmp_path_factory.mktemp("bare"),
        base,
        BASE_NAME,
        {name: tiny_adapters[name] for name in PUSHED},
        arguments=("--dtype", "float32", "--max-loras", "4", "--max-model-len", "512"),
        environment={"CXX": "no-such-compiler"},
    ) as running:
        yield running


def test_mixtures_are_exact_with_log_probabilities(bare: RunningServer) -> None:
    assert "no C++ compiler found" in bare.log.read_text()
    reference = Reference(bare.base_folder, bare.adapters)
    wanted = [
        ({"r8-a": 0.6, "r32": 0.4}, "cat"),
        ({"r8-a": 0.6, "r8-b": 0.4}, "linear"),
        ({}, "cat"),
    ]
    asks = [
        Ask(
            tuple(range(40 + shift, 70 + shift)),
            {"mixture": {"adapters": weights, "combination": rule}} if weights else {},
        )
        for shift, (weights, rule) in enumerate(wanted)
    ]
    for asked, got, (weights, rule) in zip(asks, generate(bare, asks), wanted, strict=True):
        assert_equal(reference, got, asked, weights, rule)
    assert bare.alive()


def test_a_chat_is_asked_as_lori_trains(bare: RunningServer) -> None:
    assert AutoTokenizer.from_pretrained(bare.base_folder).chat_template is None
    row = {"instruction": "Add two and three.", "input": "", "output": "Five."}
    prompt = TEMPLATES["lori"].example(row).prompt
    asked = {"temperature": 0, "max_tokens": 8}
    question = {"role": "user", "content": row["instruction"]}
    chat = _post(bare, "chat/completions", {**asked, "model": "r32", "messages": [question]})
    plain = _post(bare, "completions", {**asked, "model": "r32", "prompt": prompt})
    assert chat["choices"][0]["message"]["content"] == plain["choices"][0]["text"]
    assert chat["usage"]["prompt_tokens"] == plain["usage"]["prompt_tokens"]
    conversation = [
        {"role": "system", "content": "Be short."},
        question,
        {"role": "assistant", "content": "Five."},
        {"role": "user", "content": [{"type": "text", "text": "And one more?"}]},
    ]
    turns = _post(bare, "chat/completions", {**asked, "model": "r32", "messages": conversation})
    whole = (
        f"Be short.\n\n{prompt} Five.<|im_end|>\n\n### Instruction:\nAnd one more?\n\n### Response:"
    )
    plain = _post(bare, "completions", {**asked, "model": "r32", "prompt": whole})
    assert turns["choices"][0]["message"]["content"] == plain["choices"][0]["text"]
    assert turns["usage"]["prompt_tokens"] == plain["usage"]["prompt_tokens"]


def _post(server: RunningServer, path: str, body: dict[str, object]) -> dict[str, Any]:
    answer = httpx.post(f"{server.url}/v1/{path}", json=body, timeout=120)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


ENDLESS = (
    {"$ref": "#"},
    {"anyOf": [{"$ref": "#"}]},
    {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
)
TREE = {"type": "object", "properties": {"a": {"$ref": "#"}}}


@pytest.mark.parametrize("stream", [False, True])
def test_a_schema_that_refers_to_itself_alone_is_the_clients_fault(
    bare: RunningServer, stream: bool
) -> None:
    for schema, status in (*((endless, 400) for endless in ENDLESS), (TREE, 200)):
        form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
        question = [{"role": "user", "content": "one"}]
        for path, body in (
            ("chat/completions", {"messages": question, "response_format": form}),
            ("completions", {"prompt": "one", "structured_outputs": {"json": schema}}),
        ):
            asked = {"model": "r8-a", "max_tokens": 8, "stream": stream, **body}
            answer = httpx.post(f"{bare.url}/v1/{path}", json=asked, timeout=120)
            assert answer.status_code == status, answer.text
            assert '"error"' not in answer.text or "refers to itself" in answer.text
    assert bare.alive()


def test_an_engine_that_dies_is_told_as_that(bare: RunningServer) -> None:
    """To whoever waits for an answer, reads a stream, or comes afterwards. The server then ends."""
    asked = {"model": "r8-a", "prompt": "one", "max_tokens": 480, "ignore_eos": True, "n": 16}
    plain: list[httpx.Response] = []

    def wait() -> None:
        plain.append(httpx.post(f"{bare.url}/v1/completions", json=asked, timeout=120))

    waiting = threading.Thread(target=wait)
    with (
        httpx.Client(base_url=bare.url, timeout=120) as later,
        later.stream("POST", "/v1/completions", json={**asked, "stream": True}) as stream,
    ):
        lines = stream.iter_lines()
        assert any(line.startswith("data: ") for line in lines)
        waiting.start()
        until(lambda: _gauge(bare, "loralloy_leases") == 2)
        _engine_of(bare).kill()
        told = [line for line in lines if line.startswith('data: {"error"')]
        waiting.join()
        new = later.post("/v1/completions", json=asked)
    assert [json.loads(line[6:])["error"]["code"] for line in told] == ["engine_failed"]
    for answer in (plain[0], new):
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "engine_failed")
        assert int(answer.headers["retry-after"]) > 0


def _gauge(server: RunningServer, name: str) -> float:
    told = httpx.get(f"{server.url}/metrics", timeout=30).text
    return next(float(line.split()[1]) for line in told.splitlines() if line.startswith(f"{name} "))


def _engine_of(server: RunningServer) -> psutil.Process:
    """The process that vLLM's scheduler and worker run in."""
    children = psutil.Process(server.process.pid).children(recursive=True)
    (found,) = [child for child in children if "EngineCore" in " ".join(child.cmdline())]
    return found


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
