"""The command ``loralloy``. Nothing heavy is imported before a command needs it."""

import sys
from importlib.metadata import PackageNotFoundError, version

import typer

from server.cli.adapters import adapters
from server.cli.chat import chat
from server.cli.interference import interference
from server.cli.keys import keys
from server.cli.merge import merge
from server.cli.messages import CommandError, fail, say
from server.cli.plot_trace import plot_trace
from server.cli.policies import policies
from server.cli.route import route
from server.cli.serve import serve
from server.cli.train import PASSED_ON, evaluate, masks, train

app = typer.Typer(
    name="loralloy",
    help="Serve one base model with many LoRA adapters, mixed for each request.",
    epilog="Begin with: loralloy serve. Then, elsewhere: loralloy chat",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(serve)
app.command()(chat)
app.command()(route)
app.command("plot-trace")(plot_trace)
app.command(context_settings=PASSED_ON)(train)
app.command(context_settings=PASSED_ON)(masks)
app.command("eval", context_settings=PASSED_ON)(evaluate)
app.command()(interference)
app.command()(merge)
app.add_typer(adapters, name="adapters")
app.add_typer(keys, name="keys")
app.add_typer(policies, name="policies")


def _show_version(wanted: bool) -> None:
    if wanted:
        try:
            say(f"loralloy {version('loralloy')}")
        except PackageNotFoundError:
            say("loralloy (not installed)")
        raise typer.Exit


@app.callback()
def _root(
    show_version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Show the version."
    ),
) -> None:
    """Serve one base model with many LoRA adapters, mixed for each request."""


def main() -> None:
    """Run the command; errors take one line, and Ctrl-C ends quietly."""
    try:
        app()
    except CommandError as trouble:
        sys.exit(fail(str(trouble)))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
