"""``loralloy train``, ``masks`` and ``eval``: the training scripts, each in a process of its own.

The server imports none of them: what they need is heavy, and what they do is not the server's.
"""

import os
import sys

import typer

PASSED_ON = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}


def train(
    context: typer.Context,
    method: str = typer.Argument(..., help="How; --help lists the methods."),
) -> None:
    """Train an adapter: loralloy train METHOD --config RECIPE --out FOLDER (METHOD --help)."""
    from server.prepare import base_model_path

    os.environ.setdefault("LORALLOY_BASE_MODEL", str(base_model_path()))
    become("adapters.training", [method, *context.args])


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
