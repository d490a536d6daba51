"""The options of ``loralloy serve`` that set a field of the settings, one row each.

They are a table and not read off ``server.settings``, which would load pydantic and the database
for every command's help; a test holds types and defaults to the fields.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import typer


@dataclass(frozen=True, slots=True)
class Flag:
    """One option.

    Attributes:
        setting: the field that it sets; ``engine.`` before those of the engine.
        names: as they are typed.
        kind: the type of its value.
        help: its line; the default stands in brackets.
        stands_for: what the field gets from a flag without a value; None if a value follows.
        envvar: the environment variable that fills it, besides those of the settings.
    """

    setting: str
    names: tuple[str, ...]
    kind: type
    help: str
    stands_for: object = None
    envvar: str | None = None

    @property
    def parameter(self) -> str:
        """Its name among the command's arguments."""
        return self.names[0].removeprefix("--").replace("-", "_")

    def value(self, given: object) -> object:
        """What the field gets; None if the option was not given."""
        if self.stands_for is not None:
            return self.stands_for if given else None
        return tuple(given) or None if isinstance(given, list) else given

    def declared(self) -> inspect.Parameter:
        """The option as typer reads it from a command's signature."""
        is_switch = self.stands_for is not None
        option = typer.Option(
            False if is_switch else None, *self.names, help=self.help, envvar=self.envvar
        )
        kind: Any = list[str] if self.kind is tuple else self.kind
        annotation = bool if is_switch else kind | None
        return _keyword(self.parameter, option, annotation)


FLAGS: Final = (
    Flag("host", ("--host",), str, "Address to listen on. [127.0.0.1]"),
    Flag("port", ("--port", "-p"), int, "Port to listen on. [8000]"),
    Flag(
        "engine.model",
        ("--model",),
        str,
        "Base model: a folder or a hub name. [a bundled small model]",
    ),
    Flag(
        "engine.served_model_name",
        ("--served-model-name",),
        str,
        "The base model's name in requests.",
    ),
    Flag(
        "engine.dtype",
        ("--dtype",),
        str,
        "auto (what the processor does best), bfloat16, float16 or float32. [auto]",
    ),
    Flag(
        "engine.max_model_len",
        ("--max-model-len",),
        int,
        "Longest prompt plus answer, in tokens. [2048]",
    ),
    Flag("engine.max_loras", ("--max-loras",), int, "Adapters held in the engine at once. [16]"),
    Flag("engine.max_lora_rank", ("--max-lora-rank",), int, "Largest rank of an adapter. [32]"),
    Flag(
        "engine.compile",
        ("--eager",),
        bool,
        "Never compile the base model: slower answers, no work beside the first ones.",
        stands_for="never",
    ),
    Flag("policies", ("--policies",), Path, "YAML file, or lori."),
    Flag(
        "encoder",
        ("--encoder",),
        str,
        "SentenceTransformer folder or hub name. [a bundled one]",
    ),
    Flag(
        "static_encoder",
        ("--static-encoder",),
        Path,
        "Folder made by router.distill. [a bundled one, if it fits]",
    ),
    Flag(
        "demo_adapters",
        ("--no-demo-adapters",),
        bool,
        "Do not import the demo adapters.",
        stands_for=False,
    ),
    Flag(
        "data_dir",
        ("--data-dir",),
        Path,
        "Where adapters are kept. [~/.local/share/loralloy]",
    ),
    Flag(
        "api_keys",
        ("--api-key",),
        tuple,
        "A key clients must send; repeatable.",
        envvar="LORALLOY_API_KEY",
    ),
    Flag("api_key_file", ("--api-key-file",), Path, "File with such keys, one a line."),
    Flag("log_level", ("--log-level",), str, "debug, info, warning or error. [info]"),
)

_CONFIG = typer.Option(None, "--config", envvar="LORALLOY_CONFIG", help="YAML file of settings.")
_PRINT = typer.Option(False, "--print-config", help="Print the settings in effect, and leave.")


def with_flags(command: Callable[..., None]) -> Callable[..., None]:
    """A command of ``(flags, config, print_config)`` as typer takes it, an argument an option."""

    def called(config: Path | None, print_config: bool, **values: object) -> None:
        command(nested(values), config, print_config)

    *settings, level = (flag.declared() for flag in FLAGS)
    own = _keyword("config", _CONFIG, Path | None), _keyword("print_config", _PRINT, bool)
    vars(called)["__signature__"] = inspect.Signature([*settings, own[0], level, own[1]])
    called.__doc__, called.__name__ = command.__doc__, command.__name__
    return called


def nested(values: Mapping[str, object]) -> dict[str, Any]:
    """The options that were given, by the names and levels of the settings.

    Args:
        values: parameter → what was given for it.
    """
    flags: dict[str, Any] = {}
    for flag in FLAGS:
        value = flag.value(values.get(flag.parameter))
        if value is not None:
            group, _, field = flag.setting.rpartition(".")
            level = flags.setdefault(group, {}) if group else flags
            level[field] = value
    return flags


def _keyword(name: str, option: object, annotation: Any) -> inspect.Parameter:  # noqa: ANN401
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=option, annotation=annotation
    )
