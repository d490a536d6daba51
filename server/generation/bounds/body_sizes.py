"""How much the fields of one body may hold, judged before anything is tokenised.

A body that may be a megabyte is no bound for what is done with it. A tokeniser takes seconds for a
text that no prompt has room for; a chat template, a schema's check and the list of its faults go by
the number of messages and items. So each has a bound of its own, and what is not named here counts
as a text of the prompt, as templates may show it there. What options may hold besides, stop texts
and schemas among them, is judged before (``server.generation.bounds.field_bounds``).
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from server.edge.body.numbers import LEAST, MOST
from server.edge.settings import LimitSettings
from server.errors import InvalidRequest, PromptNotText, UnsupportedParameter

MOST_MESSAGES: Final = 512
"""Messages of a conversation, the parts of their contents included."""

MOST_ITEMS: Final[Mapping[str, int]] = {
    **dict.fromkeys(("include", "timestamp_granularities"), 64),
}
"""Fields whose items cost something at every request: their most."""

MOST_VALUES: Final = 4096
"""Values within a field that is no list of token ids: a list of its faults may name each."""

_CONVERSATIONS: Final = ("messages", "input", "previous_input_messages")
_HELD_ELSEWHERE: Final = frozenset({"response_format", "structured_outputs", "text"})
"""What an answer is to look like: no text of the prompt, and bounded where it is read."""

_NUMBER: Final = 1
"""Bytes that a number, true or false counts for, as long as a template would write it at least."""


def check_sizes(body: Mapping[str, Any], limits: LimitSettings) -> None:
    """Let a body through whose texts and lists are not longer than can be of use.

    Args:
        body: of a generation, of ``/tokenize`` or ``/detokenize``, or of a dry run.
        limits: ``text_bytes`` is the most of any text; as many token ids may be a prompt, and
            ``ids_of_text`` be made a text.

    Raises:
        InvalidRequest: a field is too long, with its name; or holds what is no list of its kind.
        UnsupportedParameter: it holds more values than any field has a use for.
        PromptNotText: a number among token ids that is none.
    """
    most = limits.text_bytes
    rest = {name: one for name, one in body.items() if name not in _HELD_ELSEWHERE}
    if "prompt" in rest:
        _check_prompt(rest.pop("prompt"), most, limits.max_prompts)
    for field, most_ids in (("tokens", limits.ids_of_text), ("allowed_token_ids", None)):
        if isinstance(rest.get(field), list):
            _check_ids(rest.pop(field), field, most_ids)
    for field in _CONVERSATIONS:
        _check_conversation(rest.get(field), field)
    for field, most_items in MOST_ITEMS.items():
        if isinstance(given := rest.get(field), list | dict) and len(given) > most_items:
            raise InvalidRequest(
                f"'{field}' has {len(given)} entries; at most {most_items} are taken", param=field
            )
    _check_texts(rest, most)


def _check_prompt(prompt: object, most: int, most_prompts: int) -> None:
    """A text, token ids, or a list of one kind of these."""
    is_one = isinstance(prompt, str) or (isinstance(prompt, list) and prompt and _is_id(prompt[0]))
    prompts = [prompt] if is_one else prompt
    if not isinstance(prompts, list) or not all(isinstance(one, str | list) for one in prompts):
        raise InvalidRequest(
            "'prompt' must be a text, token ids, or a list of one kind of these", param="prompt"
        )
    if len(prompts) > most_prompts:
        raise InvalidRequest(
            f"{len(prompts)} prompts are too many for one request; send at most {most_prompts}",
            param="prompt",
        )
    for one in prompts:
        _check_one(one, most)


def _check_one(prompt: str | list[Any], most: int) -> None:
    if isinstance(prompt, list):
        _check_ids(prompt, "prompt", most)
    elif (size := _bytes_of(prompt)) > most:
        raise InvalidRequest(
            f"'prompt' is too long: a text of {size} bytes, and more than {most} never fit into a "
            "prompt here; shorten it",
            param="prompt",
        )


def _check_ids(ids: list[Any], field: str, most: int | None) -> None:
    """A list of token ids."""
    if most is not None and len(ids) > most:
        raise InvalidRequest(
            f"'{field}' has {len(ids)} token ids; at most {most} are taken as one text here",
            param=field,
        )
    if not all(_is_id(one) for one in ids):
        raise InvalidRequest(f"'{field}' must hold whole numbers, the ids of tokens", param=field)
    if not all(LEAST <= one <= MOST for one in ids):
        error = PromptNotText if field == "prompt" else InvalidRequest
        raise error(f"'{field}' has a number that is too large for a token's id", param=field)


def _check_conversation(messages: object, field: str) -> None:
    """Messages and their parts, which templates and schemas look at one by one."""
    if not isinstance(messages, list):
        return
    count = len(messages)
    for one in messages:
        content = one.get("content") if isinstance(one, Mapping) else None
        count += len(content) if isinstance(content, list) else 0
    if count > MOST_MESSAGES:
        raise InvalidRequest(
            f"'{field}' has {count} messages and parts of messages; at most {MOST_MESSAGES} are "
            "taken",
            param=field,
        )


def _check_texts(fields: Mapping[str, Any], most: int) -> None:
    """All other fields together are no longer than one prompt, and each has not too many values."""
    whole = 0
    for field, value in fields.items():
        whole += _bytes_of(field)
        for number, size in enumerate(_sizes(value)):
            whole += size
            if number >= MOST_VALUES:
                raise UnsupportedParameter(
                    f"'{field[:64]}' holds too many values; at most {MOST_VALUES} are taken",
                    param=field[:64],
                )
            if whole > most:
                raise InvalidRequest(
                    f"'{field[:64]}' is too long: with it, the texts of the body have more than "
                    f"{most} bytes, which never fit into a prompt here; shorten it",
                    param=field[:64],
                )


def _sizes(value: object) -> Iterator[int]:
    """The bytes of every name, text and number within a value."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield _bytes_of(one)
        elif isinstance(one, Mapping):
            yield 0
            yield from map(_bytes_of, one)
            waiting.extend(one.values())
        elif isinstance(one, list):
            yield 0
            waiting.extend(one)
        else:
            yield _NUMBER


def _bytes_of(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _is_id(item: object) -> bool:
    return isinstance(item, int) and not isinstance(item, bool)
