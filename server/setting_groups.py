"""Settings that belong together: what stands below one key of the config file."""

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from adapters.storage import DEFAULT_CACHE_BYTES

_MIB = 2**20


class LimitSettings(BaseModel):
    """How much one request may ask for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_body_bytes: int = Field(
        default=16 * _MIB, ge=1024, description="Largest JSON body, in bytes."
    )
    max_upload_bytes: int = Field(
        default=1280 * _MIB,
        ge=1024,
        description="Largest upload of an adapter, all parts together.",
    )
    max_body_wait_s: float = Field(
        default=30.0,
        gt=0,
        description="Longest wait for a body, in seconds, beside what min_body_rate allows.",
    )
    min_body_rate: int = Field(
        default=1024, ge=1, description="A body's lowest speed in the long run, in bytes a second."
    )
    max_choices: int = Field(default=64, ge=1, description="Most answers to one prompt (n).")
    max_prompts: int = Field(
        default=64, ge=1, description="Most prompts in one completions request."
    )


class ResidencySettings(BaseModel):
    """How requests wait for the engine's adapter slots."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_waiting: int = Field(default=256, ge=0, description="Most requests that wait for a slot.")
    max_wait_s: float = Field(
        default=30.0, gt=0, description="Longest wait for a slot, in seconds."
    )
    max_drain_s: float = Field(
        default=60.0,
        gt=0,
        description="Longest wait of a removal for running requests, in seconds.",
    )


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


class TraceSettings(BaseModel):
    """How many traces of re-weighed answers are kept, and for how long."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_traces: int = Field(default=256, ge=1, description="Most traces, running ones included.")
    max_steps: int = Field(
        default=131072,
        ge=1,
        description="Most steps of all traces together, each some hundred bytes.",
    )
    max_trace_steps: int = Field(
        default=8192, ge=1, description="Most steps of one trace, all its choices together."
    )
    keep_s: float = Field(
        default=600.0, gt=0, description="How long a finished trace is kept, in seconds."
    )


class AccessSettings(BaseModel):
    """What API keys may ask for that say nothing of it themselves, and how long a memory is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    requests_per_minute: int | None = Field(
        default=None, ge=1, le=1_000_000, description="Most requests of a key in a minute."
    )
    max_concurrent: int | None = Field(
        default=None, ge=1, le=1_000_000, description="Most requests of a key at the same time."
    )
    audit_rows: int = Field(
        default=100_000, ge=1, description="Most entries of the audit log; the oldest go."
    )
