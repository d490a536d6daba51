"""What vLLM says of a request that it refuses, in our words.

A message of a kind that stands here is told as this server's own would be. Any other goes on as it
is, but for its marks; where it speaks of vLLM's inside, of its options or classes, the field alone
is told. Nothing of it is ever needed to tell errors apart: that is what ``code`` is for.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final

Words = str | Callable[[re.Match[str]], str]

_TOGETHER = "prompt and answer together can have"


def _within(found: re.Match[str]) -> str:
    """``temperature must be in [0, 2]``: a bound in a round bracket is not in it."""
    low = f"at least {found[3]}" if found[2] == "[" else f"more than {found[3]}"
    high = f"at most {found[4]}" if found[5] == "]" else f"less than {found[4]}"
    return f"'{found[1]}' must be {low} and {high}"


_RULES: Final[Sequence[tuple[str, Words]]] = (
    # The length of prompt and answer.
    (
        r"context length is (\d+) tokens.*?contains (\d+) characters",
        r"the prompt has \2 characters, more than a context of \1 tokens can hold; shorten it",
    ),
    (
        r"context length is (\d+) tokens.*?contains ((?:at least )?\d+) input tokens",
        rf"the prompt has \2 tokens; {_TOGETHER} \1; shorten the prompt",
    ),
    (
        r"^(\w+)=(-?\d+) cannot be greater than \w+ ?= ?(\d+)\. Please request a smaller trunc",
        r"'\1' is \2; a prompt can have at most \3 tokens",
    ),
    (
        r"^(\w+)=(-?\d+) cannot be greater than \w+ ?= ?(\d+)",
        rf"'\1' is \2; {_TOGETHER} \3 tokens; ask for fewer",
    ),
    (
        r"Input length \((\d+)\) exceeds .*?\((\d+)\)",
        rf"the prompt has \1 tokens; {_TOGETHER} \2; shorten the prompt",
    ),
    (
        r"prompt \(length (\d+)\) (?:is longer|plus the number).*?model length of (\d+)",
        rf"the prompt has \1 tokens; {_TOGETHER} \2, at least one of them the answer's",
    ),
    (r"prompt cannot be empty|must pass at least one prompt", "the prompt is empty"),
    (r"^Either prompt or prompt_embeds must be provided", "'prompt' is missing or empty"),
    # Numbers.
    (r"^`?(\w+)`? must be in ([\[(])(\S+), (\S+?)([\])]), got", _within),
    (r"^`?(\w+)`? must be non-negative, got", r"'\1' must not be negative"),
    (r"^`?(\w+)`? must be non-negative\.$", r"'\1' must not be negative"),
    (
        r"^`?(\w+)`? must be (?:at least|greater than or equal to) (\d+), got",
        r"'\1' must be at least \2",
    ),
    (r"^`?(\w+)`? must be at most (\d+), got", r"'\1' must be at most \2"),
    (r"^`?(\w+)`? must be greater than zero, got", r"'\1' must be more than 0"),
    (r"^`?(\w+)`? must be a finite number", r"'\1' must be a finite number"),
    (r"^`?(\w+)`? must be an integer", r"'\1' must be a whole number"),
    (
        r"^`?(\w+)`? must be (?:non-negative|a positive value) or -1",
        r"'\1' must not be negative, but for -1, which means all",
    ),
    (r"^`?(\w+)`? must be 0 \(disable\), or at least 1", r"'\1' must be 0, for all, or more"),
    (
        r"^min_tokens must be less than or equal to max_tokens=(\d+), got (\d+)",
        r"'min_tokens' is \2, more than 'max_tokens', which is \1",
    ),
    (
        r"^n must be 1 when using greedy sampling",
        "'n' must be 1 where 'temperature' is 0: every answer would be the same",
    ),
    (
        r"^Requested (sample|prompt) logprobs of (\d+), .*?allowed: (\d+)",
        r"\2 log-probabilities for a token are too many; at most \3 are told",
    ),
    # Tokens.
    (
        r"in (\w+) contain out-of-vocab token ids\. Vocabulary size: (\d+)",
        r"'\1' has ids that stand for no token; the base model has \2 tokens",
    ),
    (r"^(\w+) contains? out-of-vocab token id", r"'\1' has ids that stand for no token"),
    (r"^Token id (-?\d+) is out of vocabulary", r"the id \1 stands for no token"),
    (
        r"^(\w+) is not None and empty",
        r"'\1' is empty; give it at least one entry, or leave it out",
    ),
    (r"^(\w+) cannot contain an empty string", r"'\1' has an empty text"),
    (
        r"^(\w+) contains key\(s\) that cannot be converted",
        r"'\1' must map token ids to numbers",
    ),
    # Streams and log-probabilities.
    (
        r"^Stream options can only be defined when",
        "'stream_options' is for streams; set 'stream' to true",
    ),
    (
        r"^`(\w+)` are not available when `stream=True`",
        r"'\1' cannot be had in a stream; leave 'stream' out",
    ),
    (r"^[Ww]hen using `(\w+)`, `(\w+)` must be set", r"'\1' needs '\2'"),
    # Tools and structured output.
    (r"^stop strings are only supported when", "'stop' needs 'detokenize' to be true"),
    (r"^Choice '.*' cannot be an empty list", "'structured_outputs.choice' is empty"),
    (
        r"^You must use one kind of structured outputs",
        "'structured_outputs' holds no constraint; give one, or leave it out",
    ),
    (
        r"^You can only use one kind of (?:constraints|structured outputs)",
        "'structured_outputs' holds several constraints; give one of them",
    ),
    (
        r"either use constraints for structured outputs or tools",
        "a named tool and structured output exclude each other; give one of them",
    ),
    (
        r"^`tools` must not be an empty array",
        "'tools' is empty; give it at least one tool, or leave it out",
    ),
    (r"^Tool choice 'required' must be specified with", "'tool_choice' needs 'tools'"),
    (
        r"^Invalid value for `tool_choice`",
        "'tool_choice' must be 'none', 'auto', 'required' or a named tool",
    ),
    (
        r"in `(?:function|tool_choice)`(?: in `tool_choice`)?!",
        '\'tool_choice\' must name a tool: {"type": "function", "function": {"name": NAME}}',
    ),
    (
        r"does not match any of the specified `tools`|^Tool choice 'function' not found",
        "'tool_choice' names none of 'tools'",
    ),
    (
        r"'json_schema' field must be provided",
        "a 'response_format' of type 'json_schema' needs the field 'json_schema'",
    ),
    (
        r"^Invalid (\w+) structural_tag specification",
        r"the structural tag in '\1' cannot be read",
    ),
    (
        r"^structured_outputs\.(\w+) cannot be an empty string",
        r"'structured_outputs.\1' is empty",
    ),
    (
        r"^Cannot specify both structured_outputs and text\.format",
        "'structured_outputs' and 'text.format' exclude each other; give one of them",
    ),
    # Others.
    (
        r"^Cannot set both `(\w+)` and `(\w+)` to True",
        r"'\1' and '\2' exclude each other; set one of them to false",
    ),
    (
        r"^(?:Per-request )?(\w+) (?:are disabled by default|is set but)",
        r"'\1' is not supported by this server; leave it out",
    ),
    (r"^prompt template is not supported", "'prompt' is not supported by this server"),
    (r"^Response with id '([^']*)' not found", r"there is no response '\1'"),
    (
        r"^At most 0 (\w+)\(s\) may be provided",
        r"the base model reads no \1; send text alone",
    ),
    (
        r"Unexpected message role|[Uu]nknown (?:part|content) type",
        "'messages' has a role or a kind of content that the base model does not read",
    ),
)

_COMPILED: Final = [(re.compile(rule, re.DOTALL), words) for rule, words in _RULES]
_LONGEST: Final = 1000
_ASIDE = re.compile(r" \((?:parameter|value)=.*\)$", re.DOTALL)
_INSIDE = re.compile(
    r"vllm|skip_tokenizer|pydantic|starlette|fastapi|jinja|xgrammar|huggingface|--[a-z]+-|vllm_|=(?:true|false|none)"
    r"\b|\b(?:backend|tokenizer_mode|kwargs?)\b|\bobject has no attribute\b|<class ",
    re.IGNORECASE,
)
"""Words of vLLM's own inside, and of what it stands on."""
_CLASS = re.compile(r"\b[A-Z][a-z0-9]+(?:[A-Z][a-z0-9]*)+\b")


def reworded(message: str, param: str | None) -> str:
    """A sentence of ours for what vLLM says.

    Args:
        message: its own.
        param: the field at fault, as far as it tells.
    """
    said = _ASIDE.sub("", message[:_LONGEST]).strip()
    for rule, words in _COMPILED:
        found = rule.search(said)
        if found is not None:
            return found.expand(words) if isinstance(words, str) else words(found)
    if not _INSIDE.search(said) and not _CLASS.search(said):
        return said.replace("`", "'")
    if param is not None:
        return f"'{param}' has a value that cannot be served"
    return "a field of the request has a value that cannot be served"
