"""What vLLM refuses is told in our words: every sentence that its source has for a request."""

import ast
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from server.edge.errors.engine_words import reworded

ROOT = Path(next(iter(find_spec("vllm").submodule_search_locations)))
FILES = [
    *("sampling_params.py", "v1/engine/input_processor.py", "renderers/params.py"),
    *("renderers/base.py", "renderers/online_renderer.py"),
    *(f"entrypoints/openai/{api}/protocol.py" for api in ("chat_completion", "completion")),
    *("entrypoints/openai/responses/protocol.py", "entrypoints/serve/tokenize/protocol.py"),
    *("entrypoints/generate/base/protocol.py", "entrypoints/serve/utils/api_utils.py"),
]
ERRORS = {"VLLMValidationError", "VLLMClientError", "VLLMNotFoundError", "ValueError"}
INSIDE = (
    *("vllm", "parameter=", "value=", "--", "pydantic", "`", "skip_tokenizer", "SamplingParams"),
    *("EngineCore", "backend", "=True", "=False", "jinja", "Pydantic", "xgrammar", "XGrammar"),
)


def text_of(node: ast.AST) -> str | None:
    """A literal's text, with 3 for whatever is put into it."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) or "3" for part in node.values)
    return None


def sentences() -> Iterator[tuple[str, str | None]]:
    """Every message that is raised in these files, and its parameter."""
    for file in FILES:
        for node in ast.walk(ast.parse((ROOT / file).read_text())):
            call = node.exc if isinstance(node, ast.Raise) else None
            if not isinstance(call, ast.Call) or not call.args:
                continue
            if isinstance(call.func, ast.Name) and call.func.id in ERRORS:
                given = {word.arg: text_of(word.value) for word in call.keywords}
                if (said := text_of(call.args[0])) is not None:
                    yield said, given.get("parameter")


FOUND = sorted(set(sentences()), key=str)


def test_vllms_sentences_are_found():
    assert len(FOUND) > 100
    assert any("maximum context length" in said for said, _ in FOUND)


@pytest.mark.parametrize(("said", "param"), FOUND, ids=lambda one: str(one)[:40])
def test_no_sentence_of_vllms_speaks_of_its_inside(said, param):
    aside = f" (parameter={param}, value=3)" if param else ""
    told = reworded(said + aside, param)
    assert told
    assert not [word for word in INSIDE if word in told], told


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "temperature must be in [0, 2], got -1.0.",
            "'temperature' must be at least 0 and at most 2",
        ),
        ("top_p must be in (0, 1], got 0.", "'top_p' must be more than 0 and at most 1"),
        (
            "min_tokens must be greater than or equal to 0, got -1.",
            "'min_tokens' must be at least 0",
        ),
        (
            "This model's maximum context length is 512 tokens. However, your prompt contains at "
            "least 513 input tokens, which exceeds this limit even without any output tokens.",
            "the prompt has at least 513 tokens; prompt and answer together can have 512; shorten "
            "the prompt",
        ),
        (
            "max_tokens=9999 cannot be greater than max_model_len=512. Please request fewer.",
            "'max_tokens' is 9999; prompt and answer together can have 512 tokens; ask for fewer",
        ),
        (
            "Stream options can only be defined when `stream=True`. (parameter=stream_options)",
            "'stream_options' is for streams; set 'stream' to true",
        ),
        (
            "when using `top_logprobs`, `logprobs` must be set to true.",
            "'top_logprobs' needs 'logprobs'",
        ),
        ("a sentence of its own about `x`.", "a sentence of its own about 'x'."),
        ("Start it with --some-flag", "'p' has a value that cannot be served"),
        ("'NoneType' object has no attribute 'x'", "'p' has a value that cannot be served"),
    ],
)
def test_what_is_meant_is_told(said, told):
    assert reworded(said, "p") == told


@pytest.mark.parametrize("said", ["", "x" * 10**6, "context length is " * 10**5, "`" * 10**6])
def test_what_is_long_is_cut(said):
    assert len(reworded(said, None)) <= 1000
