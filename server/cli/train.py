"""``loralloy train``, ``masks`` and ``eval``: the training scripts, each in a process of its own.

The server imports none of them: what they need is heavy, and what they do is not the server's.
"""

import os
import sys

import typer

METHODS = ("lora", "lori_d", "lori_s", "full")

PASSED_ON = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}


def train(
    context: typer.Context,
    method: str = typer.Argument(..., help=f"One of {', '.join(METHODS)}."),
) -> None:
    """Train an adapter: loralloy train METHOD --config RECIPE --out FOLDER (METHOD --help)."""
    if method in ("-h", "--help"):
        typer.echo(context.get_help())
        typer.echo(f"Methods: {', '.join(METHODS)}. Their options: loralloy train METHOD --help")
        return
    if method not in METHODS:
        from server.cli.messages import CommandError

        raise CommandError(f"there is no method {method!r}; there are {', '.join(METHODS)}")
    from server.prepare import base_model_path

    os.environ.setdefault("LORALLOY_BASE_MODEL", str(base_model_path()))
    become(f"adapters.training.{method}", context.args)


def masks(context: typer.Context) -> None:
    """Choose which entries of B LoRI-S trains, from a LoRI-D adapter (--help for options)."""
    become("adapters.training.methods.lori", context.args)


def evaluate(context: typer.Context) -> None:
    """Measure models, adapters and policies on task files (--help for options)."""
    become("adapters.training.evaluation", context.args)


def become(module: str, arguments: list[str]) -> None:
    """Run a module in place of this process, which keeps its exit status and its Ctrl-C."""
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])
