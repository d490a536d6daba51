"""``loralloy serve``: start the server."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from server.cli.messages import CommandError, errors, show_json
from server.cli.serve_flags import with_flags

if TYPE_CHECKING:
    from server.routes.parts import Parts
    from server.settings import Settings

_QUIET = {
    "VLLM_LOGGING_LEVEL": "ERROR",
    "TORCH_CPP_LOG_LEVEL": "ERROR",
    "TORCH_LOGS": "-all",
    "PYTHONWARNINGS": "ignore",
}
"""Silences dozens of lines that libraries print at every start and no user can act on."""


@with_flags
def serve(flags: dict[str, Any], config: Path | None, print_config: bool) -> None:
    """Start the server: an OpenAI-compatible API whose adapters are mixed for each request.

    Settings come from these options, then the environment (LORALLOY_PORT, LORALLOY_ENGINE__DTYPE),
    then the --config file, then the defaults in brackets.
    """
    import atexit

    # Before the libraries register what they do at the end, so that this comes after it.
    atexit.register(_end)
    try:
        _begin(flags, config, print_config)
    except BaseException:
        atexit.unregister(_end)  # its exit status says that all is well
        raise


def _begin(flags: dict[str, Any], config: Path | None, print_config: bool) -> None:
    from adapters.errors import AdapterError
    from server.errors import InvalidSettings
    from server.settings import load_settings
    from server.start.preflight import check

    try:
        settings = load_settings(flags, config)
        check(settings)
    except (InvalidSettings, AdapterError) as error:
        raise CommandError(str(error)) from None
    if print_config:
        show_json(settings.model_dump(mode="json"))
        return
    _run(settings)


def _run(settings: "Settings") -> None:
    import logging
    import os

    from rich.logging import RichHandler

    from server.start.log_lines import SafeRecords

    if settings.log_level != "debug":
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        for library in ("vllm", "sentence_transformers"):
            logging.getLogger(library).setLevel(logging.ERROR)
    console = errors()
    handler = RichHandler(console=console, show_path=False)
    handler.addFilter(SafeRecords())
    logging.basicConfig(level=settings.log_level.upper(), format="%(message)s", handlers=[handler])
    from adapters.errors import AdapterError
    from router.errors import RoutingError
    from server.engine.errors import EngineError
    from server.errors import ServerError
    from server.prepare import PrepareError
    from server.start.preflight import run

    try:
        run(settings, _announce)
    except KeyboardInterrupt:
        console.print("Loralloy has stopped.", style="dim")
    except (ServerError, EngineError, AdapterError, RoutingError, PrepareError) as error:
        raise CommandError(str(error)) from None


def _end() -> None:
    """Leave at once, rather than take everything that was imported apart, which takes seconds."""
    import logging
    import os
    import sys

    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _announce(url: str, parts: "Parts") -> None:
    """Say where the server is and what can be asked of it."""
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    names = parts.catalogue.names
    adapters = list(names.adapters)
    shown = ", ".join(adapters[:8]) + (f" and {len(adapters) - 8} more" if adapters[8:] else "")
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_row("address", Text(f"{url}/v1", "bold"))
    table.add_row("base model", names.base)
    table.add_row("computes in", str(parts.engine.number_format))
    table.add_row("adapters", shown or "none yet: loralloy adapters push NAME FOLDER")
    table.add_row("policies", ", ".join(names.policies))
    table.add_row("reference", f"{url}/docs")
    table.add_row("try", 'loralloy chat --once "If 3 pens cost 12, what do 5 cost?"')
    errors().print(Panel(table, title="Loralloy is ready", expand=False, border_style="green"))
