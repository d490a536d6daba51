"""Without a C++ compiler plain torch takes the kernel's place, just as exact; without a chat
template a base model is asked in Alpaca's form."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
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
