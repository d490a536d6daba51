"""``loralloy serve``: start the server."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from server.cli.messages import CommandError

if TYPE_CHECKING:
    from server.routes.parts import Parts
    from server.settings import Settings

_QUIET = {
    "VLLM_LOGGING_LEVEL": "ERROR",
    "TORCH_CPP_LOG_LEVEL": "ERROR",
    "TORCH_LOGS": "-all",
    "PYTHONWARNINGS": "ignore",
}
"""Dozens of lines by which libraries tell at every start what no user can act on."""


def serve(  # noqa: PLR0913, PLR0917 - each is an option of the command
    host: str | None = typer.Option(None, "--host", help="Address to listen on. [127.0.0.1]"),
    port: int | None = typer.Option(None, "--port", "-p", help="Port to listen on. [8000]"),
    model: str | None = typer.Option(
        None, "--model", help="Base model: a folder or a hub name. [a bundled small model]"
    ),
    served_model_name: str | None = typer.Option(
        None, "--served-model-name", help="The base model's name in requests."
    ),
    dtype: str | None = typer.Option(
        None, "--dtype", help="auto, bfloat16, float16 or float32. [auto]"
    ),
    max_model_len: int | None = typer.Option(
        None, "--max-model-len", help="Longest prompt plus answer, in tokens. [2048]"
    ),
    max_loras: int | None = typer.Option(
        None, "--max-loras", help="Adapters held in the engine at once. [16]"
    ),
    max_lora_rank: int | None = typer.Option(
        None, "--max-lora-rank", help="Largest rank of an adapter. [32]"
    ),
    eager: bool = typer.Option(
        False, "--eager", help="Do not compile the model: a faster start, slower answers."
    ),
    policies: Path | None = typer.Option(None, "--policies", help="YAML file, or lori."),
    encoder: str | None = typer.Option(
        None, "--encoder", help="SentenceTransformer folder or hub name. [a bundled one]"
    ),
    static_encoder: Path | None = typer.Option(
        None, "--static-encoder", help="Folder made by router.distill. [a bundled one, if it fits]"
    ),
    no_demo_adapters: bool = typer.Option(
        False, "--no-demo-adapters", help="Do not import the demo adapters."
    ),
    data_dir: Path | None = typer.Option(
        None, "--data-dir", help="Where adapters are kept. [~/.local/share/loralloy]"
    ),
    api_key: list[str] | None = typer.Option(
        None, "--api-key", envvar="LORALLOY_API_KEY", help="A key clients must send; repeatable."
    ),
    api_key_file: Path | None = typer.Option(
        None, "--api-key-file", help="File with such keys, one a line."
    ),
    config: Path | None = typer.Option(
        None, "--config", envvar="LORALLOY_CONFIG", help="YAML file of settings."
    ),
    log_level: str | None = typer.Option(
        None, "--log-level", help="debug, info, warning or error. [info]"
    ),
    print_config: bool = typer.Option(
        False, "--print-config", help="Print the settings in effect, and leave."
    ),
) -> None:
    """Start the server: an OpenAI-compatible API whose adapters are mixed for each request.

    Settings come from these options, then the environment (LORALLOY_PORT, LORALLOY_ENGINE__DTYPE),
    then the --config file, then the defaults in brackets.
    """
    from adapters.errors import AdapterError
    from server.errors import InvalidSettings
    from server.settings import load_settings
    from server.start.preflight import check

    flags: dict[str, Any] = {
        "host": host,
        "port": port,
        "policies": policies,
        "encoder": encoder,
        "static_encoder": static_encoder,
        "data_dir": data_dir,
        "api_keys": tuple(api_key) if api_key else None,
        "api_key_file": api_key_file,
        "log_level": log_level,
        "demo_adapters": False if no_demo_adapters else None,
    }
    engine = {
        "model": model,
        "served_model_name": served_model_name,
        "dtype": dtype,
        "max_model_len": max_model_len,
        "max_loras": max_loras,
        "max_lora_rank": max_lora_rank,
        "compile": False if eager else None,
    }
    flags = {name: value for name, value in flags.items() if value is not None}
    engine = {name: value for name, value in engine.items() if value is not None}
    try:
        settings = load_settings({**flags, "engine": engine} if engine else flags, config)
        check(settings)
    except (InvalidSettings, AdapterError) as error:
        raise CommandError(str(error)) from None
    if print_config:
        typer.echo(settings.model_dump_json(indent=2))
        return
    _run(settings)


def _run(settings: "Settings") -> None:
    import logging
    import os

    from rich.console import Console
    from rich.logging import RichHandler

    if settings.log_level != "debug":
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        for library in ("vllm", "sentence_transformers"):
            logging.getLogger(library).setLevel(logging.ERROR)
    console = Console(stderr=True)
    logging.basicConfig(
        level=settings.log_level.upper(),
        format="%(message)s",
        handlers=[RichHandler(console=console, show_path=False)],
    )
    from adapters.errors import AdapterError
    from router.errors import RoutingError
    from server.engine.errors import EngineError
    from server.errors import ServerError
    from server.prepare import PrepareError
    from server.start.preflight import run

    try:
        run(settings, _announce)
    except (ServerError, EngineError, AdapterError, RoutingError, PrepareError) as error:
        raise CommandError(str(error)) from None
    except KeyboardInterrupt:
        console.print("Loralloy has stopped.", style="dim")


def _announce(url: str, parts: "Parts") -> None:
    """Say where the server is and what can be asked of it."""
    from rich.console import Console
    from rich.panel import Panel
    from rich.table import Table

    names = parts.catalogue.names
    adapters = list(names.adapters)
    shown = ", ".join(adapters[:8]) + (f" and {len(adapters) - 8} more" if adapters[8:] else "")
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_row("address", f"[bold]{url}/v1[/]")
    table.add_row("base model", names.base)
    table.add_row("adapters", shown or "none yet: loralloy adapters push NAME FOLDER")
    table.add_row("policies", ", ".join(names.policies))
    table.add_row("reference", f"{url}/docs")
    table.add_row("try", 'loralloy chat --once "If 3 pens cost 12, what do 5 cost?"')
    console = Console(stderr=True)
    console.print(Panel(table, title="Loralloy is ready", expand=False, border_style="green"))
