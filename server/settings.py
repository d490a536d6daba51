"""Settings of the server: the one reader of the environment and of the ``--config`` file.

Flags win over the environment (``LORALLOY_PORT``, nested: ``LORALLOY_ENGINE__DTYPE``), which wins
over the YAML file, which wins over the defaults. Unknown keys are errors.
"""

import ipaddress
import json
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from adapters.errors import StorageFailed
from adapters.format.strict_yaml import BadYaml, load, read_text
from adapters.registry.storage import DEFAULT_CACHE_BYTES, Locations, check_locations
from server.access.key_file import read_key_file
from server.access.settings import AccessSettings
from server.edge.settings import CorsSettings, LimitSettings
from server.engine.settings import EngineSettings
from server.engine.structured.settings import StructuredOutputSettings
from server.errors import InvalidSettings
from server.residency.settings import ResidencySettings
from server.sources.settings import SourceSettings
from server.traces.settings import TraceSettings

_PROJECT = Path(__file__).resolve().parent.parent


class StorageSettings(BaseModel):
    """How contents in an object store, and a database that is shared, are dealt with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    options: dict[str, SecretStr] = Field(
        default_factory=dict,
        description="For S3: endpoint_url, key, secret, token; AWS's environment by default.",
    )
    cache_bytes: int = Field(
        default=DEFAULT_CACHE_BYTES,
        ge=0,
        description="Most bytes of copies of remote contents, those in use aside.",
    )
    sync_s: float = Field(
        default=5.0,
        ge=0.1,
        description="Seconds between looks for what other servers on PostgreSQL have changed.",
    )


class Settings(BaseSettings):
    """Everything that can be set. One sentence a field."""

    model_config = SettingsConfigDict(
        env_prefix="LORALLOY_", env_nested_delimiter="__", extra="forbid", frozen=True
    )

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(
        default=8000, ge=0, le=65535, description="Port to listen on; 0 picks a free one."
    )
    api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        default=(),
        description="Keys that clients must present; without any, only loopback is served.",
    )
    api_key_file: Path | None = Field(
        default=None, description="File with further keys, one a line."
    )
    data_dir: Path = Field(
        default=Path("~/.local/share/loralloy"), description="Where uploaded adapters are kept."
    )
    database_url: SecretStr | None = Field(
        default=None, description="Database of names and versions; a file in the data folder."
    )
    store_url: str | None = Field(
        default=None, description="s3://BUCKET/PREFIX of contents; in the data folder by default."
    )
    policies: Path | None = Field(
        default=None, description="YAML file of policies; bundled by default."
    )
    encoder: str | None = Field(
        default=None, description="SentenceTransformer name or folder; the bundled one by default."
    )
    static_encoder: Path | None = Field(
        default=None,
        description="Folder of a static encoder; the bundled one that fits the model by default.",
    )
    default_policy: str = Field(
        default="auto", description="Policy of requests that name no model, and of dry runs."
    )
    accepted_bases: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Further names of the base model that adapters may be made for."
    )
    demo_adapters: bool = Field(default=True, description="Import the demo adapters at start.")
    demo_dir: Path = Field(
        default=_PROJECT / "examples" / "adapters", description="Folder of the demo adapters."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="How much the server logs."
    )
    engine: EngineSettings = Field(default_factory=lambda: EngineSettings.model_validate({}))
    limits: LimitSettings = Field(default_factory=lambda: LimitSettings())
    structured_outputs: StructuredOutputSettings = Field(
        default_factory=lambda: StructuredOutputSettings()
    )
    cors: CorsSettings = Field(default_factory=lambda: CorsSettings())
    residency: ResidencySettings = Field(default_factory=lambda: ResidencySettings())
    storage: StorageSettings = Field(default_factory=lambda: StorageSettings())
    traces: TraceSettings = Field(default_factory=lambda: TraceSettings())
    access: AccessSettings = Field(default_factory=lambda: AccessSettings())
    sources: SourceSettings = Field(default_factory=lambda: SourceSettings())

    @field_validator("api_keys", "accepted_bases", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        """Take ``a,b`` or a JSON list from the environment."""
        if not isinstance(value, str):
            return value
        if value.lstrip().startswith("["):
            return json.loads(value)
        return [part.strip() for part in value.split(",") if part.strip()]

    @field_validator("api_keys")
    @classmethod
    def _check_keys(cls, keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for key in keys:
            text = key.get_secret_value()
            if not text.strip() or not text.isascii() or any(c.isspace() for c in text):
                raise ValueError("an API key is a non-empty ASCII word without spaces")
        return keys

    @field_validator("accepted_bases")
    @classmethod
    def _check_bases(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not name.strip(" /\\"):
                raise ValueError("a name of the base model is missing; write one like org/model")
        return names

    @field_validator("data_dir", "demo_dir", "policies", "static_encoder", "api_key_file")
    @classmethod
    def _expand(cls, path: Path | None) -> Path | None:
        return None if path is None else path.expanduser()

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def keys(self) -> tuple[str, ...]:
        """Every API key, those of the file included.

        Raises:
            InvalidSettings: the file cannot be read or holds no key.
        """
        given = [key.get_secret_value() for key in self.api_keys]
        listed = () if self.api_key_file is None else read_key_file(self.api_key_file)
        return tuple(dict.fromkeys([*given, *listed]))

    @property
    def fitted_limits(self) -> LimitSettings:
        """The limits of requests, those by the longest prompt included."""
        return self.limits.fitted(self.engine.max_model_len)

    @property
    def locations(self) -> Locations:
        """Where names and contents are kept."""
        options = {name: value.get_secret_value() for name, value in self.storage.options.items()}
        database = None if self.database_url is None else self.database_url.get_secret_value()
        return Locations(self.data_dir, database, self.store_url, options, self.storage.cache_bytes)

    def check(self, has_stored_key: Callable[[], bool] = lambda: False) -> None:
        """Refuse settings that are each valid and cannot be meant together, and URLs of nothing.

        Args:
            has_stored_key: says whether the database has a key; asked only where it matters.

        Raises:
            InvalidSettings: another machine could reach a server without keys, there is no such
                kind of database or store, or pinned adapters leave no slot to the others.
        """
        try:
            check_locations(self.locations)
        except StorageFailed as error:
            raise InvalidSettings(str(error)) from None
        self._check_certificates()
        pinned, slots = len(set(self.residency.pinned)), self.engine.max_loras
        if pinned >= slots:
            raise InvalidSettings(
                f"residency.pinned names {pinned} adapters of {slots} slots, which leaves none to "
                "the others; pin fewer, or start with more --max-loras"
            )
        if not self.keys() and not self.is_loopback and not has_stored_key():
            raise InvalidSettings(
                f"refusing to listen on {self.host} without an API key: anyone who reaches this "
                "machine could use it; make one with 'loralloy keys create', give --api-key, or "
                "--host 127.0.0.1"
            )

    def _check_certificates(self) -> None:
        given = self.sources.ca_file
        if given is None:
            return
        try:
            ssl.create_default_context(cafile=given)
        except (OSError, ssl.SSLError):
            raise InvalidSettings(
                f"sources.ca_file: {given} cannot be read as certificates in PEM form"
            ) from None


def load_settings(flags: Mapping[str, Any], config: Path | None = None) -> Settings:
    """Read the settings: flags > environment > file > defaults.

    Args:
        flags: what the command line gave, nested like :class:`Settings`.
        config: a YAML file, or None.

    Raises:
        InvalidSettings: one line that names the field at fault.
    """
    values = {} if config is None else _read_yaml(config)

    class _Sourced(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return (init_settings, env_settings, InitSettingsSource(settings_cls, values))

    try:
        return _Sourced(**flags)
    except ValidationError as error:
        raise InvalidSettings(_one_line(error)) from None
    except SettingsError as error:
        raise InvalidSettings(str(error)) from None


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = load(read_text(path))
    except FileNotFoundError:
        raise InvalidSettings(f"there is no config file {path}") from None
    except (OSError, BadYaml) as error:
        reason = " ".join(str(error).split())
        raise InvalidSettings(f"{path} is not a YAML file of settings: {reason}") from None
    if values is None:
        return {}
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise InvalidSettings(f"{path} is not a YAML file of settings: it must map names to values")
    return values


def _one_line(error: ValidationError) -> str:
    """The first faults of a validation, as ``engine.dtype: Input should be …``."""
    faults = [
        f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}"
        for fault in error.errors(include_url=False, include_input=False)
    ]
    more = len(faults) - 3
    return "; ".join(faults[:3]) + (f"; and {more} more" if more > 0 else "")
