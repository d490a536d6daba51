"""``loralloy chat``: talk to a running server and see the mixtures."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.text import Text

from adapters.printable import printable, printable_lines
from server.cli import client
from server.cli.messages import CommandError, console

if TYPE_CHECKING:
    from server.cli.answer_colours import Painter

_HELP = "/model NAME changes the model, /new begins anew, /quit or Ctrl-D leaves"


def chat(  # noqa: PLR0913, PLR0917 - each is an option of the command
    prompt: str | None = typer.Argument(None, help="With --once: what to ask."),
    model: str = typer.Option(
        "auto", "--model", "-m", help="A policy, an adapter, or the base model."
    ),
    mixture: str | None = typer.Option(
        None, "--mixture", help="Weights instead of a model: maths=0.7,code=0.3"
    ),
    once: bool = typer.Option(False, "--once", help="Ask one thing, print the answer, leave."),
    system: str | None = typer.Option(None, "--system", help="A system message."),
    max_tokens: int = typer.Option(512, "--max-tokens", min=1, help="Longest answer, in tokens."),
    temperature: float | None = typer.Option(None, "--temperature", help="Of the sampling."),
    scope: str | None = typer.Option(
        None, "--scope", help="When weights are computed: prompt, token or recompute."
    ),
    stride: int | None = typer.Option(
        None, "--stride", min=1, help="Tokens between two computations of the weights."
    ),
    trace: bool = typer.Option(
        False, "--trace", help="Colour each token by the adapter that leads it."
    ),
    url: str = client.URL,
    key: str | None = client.KEY,
) -> None:
    """Chat in the terminal. Each answer shows the mixture that made it."""
    body: dict[str, Any] = {"model": model, "max_tokens": max_tokens}
    if temperature is not None:
        body["temperature"] = temperature
    if mixture is not None:
        body = {**body, "model": None, "mixture": {"adapters": parse_weights(mixture)}}
    routing = {"scope": scope, "stride": stride}
    if changes := {name: value for name, value in routing.items() if value is not None}:
        body["routing"] = changes
    talk = Talk(client.Client(url, key), body, system, traces=trace)
    if once:
        if not prompt:
            raise CommandError('with --once give what to ask: loralloy chat --once "What is 2+2?"')
        talk.say(prompt)
        return
    talk.console.print(printable(f"model {model}; {_HELP}"), style="dim", highlight=False)
    if prompt:
        talk.say(prompt)
    talk.go_on()


def parse_weights(text: str) -> dict[str, float]:
    """``maths=0.7,code=0.3`` as weights.

    Raises:
        CommandError: it is not of that form.
    """
    weights: dict[str, float] = {}
    for part in text.split(","):
        name, equals, weight = part.partition("=")
        try:
            weights[name.strip()] = float(weight)
        except ValueError:
            equals = ""
        if not equals or not name.strip():
            raise CommandError(f"{part!r} is not a weight; write --mixture maths=0.7,code=0.3")
    return weights


def _painter(console: Console) -> "Painter":
    from server.cli.answer_colours import Painter

    return Painter(console)


class Talk:
    """One conversation."""

    def __init__(
        self,
        server: client.Client,
        body: dict[str, Any],
        system: str | None,
        *,
        traces: bool = False,
    ) -> None:
        self.console = console()
        self._server = server
        self._body = body
        self._painter = _painter(self.console) if traces else None
        self._start = [{"role": "system", "content": system}] if system else []
        self._messages = list(self._start)

    def go_on(self) -> None:
        """Read and answer until the end of the input."""
        while True:
            try:
                line = self.console.input(Text("> ", style="bold green")).strip()
            except EOFError:
                self.console.print()
                return
            if line in ("/quit", "/exit"):
                return
            if line:
                self._react(line)

    def say(self, question: str) -> None:
        """Ask, print the answer as it comes, and remember both."""
        messages = [*self._messages, {"role": "user", "content": question}]
        body = {
            **self._body,
            "messages": messages,
            "stream": True,
            "stream_options": {"include_mixture": True},
        }
        answer, mixture = "", None
        if self._painter is not None:
            self._painter.begin()
        for chunk in self._server.stream("/v1/chat/completions", body):
            mixture = chunk.get("mixture", mixture)
            for choice in chunk.get("choices", []):
                piece = choice.get("delta", {}).get("content") or ""
                self._show(piece, chunk)
                answer += piece
        self.console.print()
        if self._painter is not None:
            self.console.print(self._painter.legend(), soft_wrap=True)
        elif mixture is not None:
            from server.cli.mixture_bars import mixture_line

            self.console.print(f"[{mixture_line(mixture)}]", style="dim")
        self._messages = [*messages, {"role": "assistant", "content": answer}]

    def _show(self, piece: str, chunk: Mapping[str, Any]) -> None:
        if self._painter is None or "mixture" not in chunk:
            text = printable_lines(piece)
            self.console.print(text, end="", highlight=False, soft_wrap=True)
        else:
            self._painter.show(piece, chunk["mixture"], len(chunk.get("mixtures", [None])))

    def _react(self, line: str) -> None:
        command, _, rest = line.partition(" ")
        if command == "/new":
            self._messages = list(self._start)
        elif command == "/model" and rest.strip():
            self._body = {**self._body, "model": rest.strip(), "mixture": None}
        elif command == "/mixture" and rest.strip():
            self._attempt(lambda: self._set_mixture(rest))
        elif line.startswith("/"):
            self.console.print(_HELP, style="dim", highlight=False)
        else:
            self._attempt(lambda: self.say(line))

    def _set_mixture(self, text: str) -> None:
        self._body = {**self._body, "model": None, "mixture": {"adapters": parse_weights(text)}}

    def _attempt(self, step: Any) -> None:  # noqa: ANN401 - any callable
        """A failed turn does not end the conversation."""
        try:
            step()
        except (CommandError, json.JSONDecodeError) as trouble:
            self.console.print(printable(f"error: {trouble}"), style="red", highlight=False)
