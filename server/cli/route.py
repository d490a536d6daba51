"""``loralloy route``: what a text would get."""

import sys

import typer

from server.cli import client
from server.cli.messages import CommandError, console, say, show_json


def route(  # noqa: PLR0913, PLR0917 - each is an option of the command
    text: str = typer.Argument(..., help="The text to route; '-' reads the standard input."),
    policy: str | None = typer.Option(
        None, "--policy", help="The policy that weighs; the server's default one if not given."
    ),
    top_k: int | None = typer.Option(None, "--top-k", help="Keep so many adapters."),
    temperature: float | None = typer.Option(
        None, "--temperature", help="Softmax temperature: small decides, large blends."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print the server's answer as JSON."),
    url: str = client.URL,
    key: str | None = client.KEY,
) -> None:
    """Show which adapters a text would get, and how much of each. Nothing is generated."""
    prompt = sys.stdin.read() if text == "-" else text
    if not prompt.strip():
        raise CommandError("there is no text to route")
    routing = {"top_k": top_k, "temperature": temperature}
    changes = {name: value for name, value in routing.items() if value is not None}
    body = {"input": prompt, "policy": policy, "routing": changes or None}
    answer = client.Client(url, key).post("/v1/route", json=body)
    if as_json:
        show_json(answer)
        return
    from server.cli.mixture_bars import show_weights

    show_weights(console(), answer["mixture"], answer["scores"])
    fallback = answer["fallback"]
    say(
        f"policy {answer['policy']}, {answer['mixture']['combination']}, "
        f"{answer['total_ms']:.1f} ms" + (f", fallback: {fallback}" if fallback else ""),
        style="dim",
    )
