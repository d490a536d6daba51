"""What a request's prompts say, for the router to read: one input for each prompt."""

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any

from router.window import RoutingInput
from server.errors import InvalidRequest, PromptNotText

Decode = Callable[[Sequence[int]], str]
"""Token ids to text."""


class Api(Enum):
    """The three ways to ask for a generation, by their paths."""

    CHAT = "/v1/chat/completions"
    COMPLETIONS = "/v1/completions"
    RESPONSES = "/v1/responses"

    @property
    def id_prefix(self) -> str:
        """What the ids of answers begin with."""
        return _ID_PREFIXES[self]


_ID_PREFIXES: Mapping[Api, str] = {
    Api.CHAT: "chatcmpl-",
    Api.COMPLETIONS: "cmpl-",
    Api.RESPONSES: "resp_",
}


def count_prompts(api: Api, body: Mapping[str, Any]) -> int:
    """How many prompts a body has; at least one, since vLLM tells what is wrong with none."""
    prompt = body.get("prompt")
    if api is not Api.COMPLETIONS or not isinstance(prompt, list) or not prompt:
        return 1
    return 1 if all(_is_id(item) for item in prompt) else len(prompt)


def read_prompts(api: Api, body: Mapping[str, Any], decode: Decode) -> tuple[RoutingInput, ...]:
    """What each prompt says.

    Raises:
        PromptNotText: a prompt of token ids that stand for no text.
        InvalidRequest: a prompt of the wrong type.
    """
    if api is Api.CHAT:
        return (RoutingInput(_messages(body.get("messages"))),)
    if api is Api.RESPONSES:
        return (_response_input(body),)
    prompt = body.get("prompt")
    if prompt is None or prompt == []:
        return (RoutingInput(text=""),)
    if isinstance(prompt, list) and not all(_is_id(item) for item in prompt):
        return tuple(_text_prompt(item, decode) for item in prompt)
    return (_text_prompt(prompt, decode),)


def read_plain(value: object, param: str) -> RoutingInput:
    """A text, or messages, outside of any generation."""
    if isinstance(value, str):
        return RoutingInput(text=value)
    if isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
        return RoutingInput(_messages(value))
    raise InvalidRequest(f"'{param}' must be a text or a list of messages", param=param)


def _text_prompt(prompt: object, decode: Decode) -> RoutingInput:
    if isinstance(prompt, str):
        return RoutingInput(text=prompt)
    if isinstance(prompt, list) and all(_is_id(item) for item in prompt):
        try:
            return RoutingInput(text=decode(prompt))
        except (OverflowError, ValueError, IndexError) as error:
            raise PromptNotText(
                "a policy weighs adapters by text, and these token ids stand for none; send the "
                "prompt as text, or give the mixture",
                param="prompt",
            ) from error
    raise InvalidRequest(
        "'prompt' must be a text, token ids, or a list of one kind of these", param="prompt"
    )


def _response_input(body: Mapping[str, Any]) -> RoutingInput:
    messages: list[tuple[str, str]] = []
    if isinstance(instructions := body.get("instructions"), str):
        messages.append(("system", instructions))
    given = body.get("input")
    if isinstance(given, str):
        messages.append(("user", given))
    else:
        messages.extend(_messages(given))
    return RoutingInput(tuple(messages))


def _messages(raw: object) -> tuple[tuple[str, str], ...]:
    """Role and text of each message. What is no message is left for vLLM to refuse."""
    if not isinstance(raw, list):
        return ()
    found = [_message(item) for item in raw if isinstance(item, Mapping)]
    return tuple((role, text) for role, text in found if text)


def _message(message: Mapping[str, Any]) -> tuple[str, str]:
    role, content = message.get("role"), message.get("content")
    if content is None and isinstance(output := message.get("output"), str):
        return ("tool", output)
    text = content if isinstance(content, str) else "\n".join(_parts(content))
    return (role if isinstance(role, str) else "user", text)


def _parts(content: object) -> list[str]:
    """The texts of a message's parts; images and the like say nothing here."""
    if not isinstance(content, list):
        return []
    parts = [part.get("text") if isinstance(part, Mapping) else part for part in content]
    return [part for part in parts if isinstance(part, str)]


def _is_id(item: object) -> bool:
    return isinstance(item, int) and not isinstance(item, bool)
