"""Settings that belong together: what stands below one key of the config file."""

import ipaddress
import re
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from adapters.registry.storage import DEFAULT_CACHE_BYTES

_MIB = 2**20
_HOST_PATTERN = re.compile(r"[a-z0-9.*:-]{1,253}")
_HUB_PATTERN = re.compile(r"[A-Za-z0-9._*-]{1,96}/[A-Za-z0-9._*-]{1,96}")
_BUCKET_PATTERN = re.compile(r"[a-z0-9.*-]{1,63}(/[^/\s?#\[\]]+)*")


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
    pinned: tuple[str, ...] = Field(
        default=(), description="Names of adapters that keep their slots once they are in one."
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


class SourceSettings(BaseModel):
    """Where adapters may be imported from: from nowhere, unless something is listed here."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hf: tuple[str, ...] = Field(
        default=(), description="Repositories of the hub, as ORG/REPO; * stands for any characters."
    )
    hf_endpoint: str = Field(
        default="https://huggingface.co", description="Address of the hub, which must be HTTPS."
    )
    hf_token: SecretStr | None = Field(
        default=None, description="Token for the hub; no other host gets it."
    )
    hf_hosts: tuple[str, ...] = Field(
        default=("*.hf.co", "*.huggingface.co"),
        description="Hosts that the hub may redirect to.",
    )
    s3: tuple[str, ...] = Field(
        default=(), description="BUCKET/PREFIX of S3; * stands for any characters."
    )
    s3_options: dict[str, SecretStr] = Field(
        default_factory=dict,
        description="For S3: endpoint_url, key, secret, token; AWS's environment by default.",
    )
    https: tuple[str, ...] = Field(
        default=(), description="Hosts of HTTPS, redirects included; * stands for any characters."
    )
    https_ports: tuple[int, ...] = Field(
        default=(443,), description="Ports of HTTPS that may be connected to."
    )
    private_networks: tuple[str, ...] = Field(
        default=(), description="Networks that may be connected to although they are not public."
    )
    ca_file: Path | None = Field(
        default=None, description="PEM file of certificate authorities beside the usual ones."
    )
    file: Path | None = Field(
        default=None, description="Folder below which file:// and lora_path may lie."
    )
    max_running: int = Field(default=2, ge=1, le=16, description="Most imports at the same time.")
    max_jobs: int = Field(
        default=64, ge=1, le=10_000, description="Most jobs that are kept, ended ones included."
    )
    keep_s: float = Field(
        default=3600.0, gt=0, description="How long an ended job is kept, in seconds."
    )
    max_wait_s: float = Field(
        default=30.0, gt=0, description="Longest wait for one answer of a source, in seconds."
    )
    max_fetch_s: float = Field(
        default=1800.0, gt=0, description="Longest time to fetch one adapter, in seconds."
    )

    @field_validator("hf")
    @classmethod
    def _check_repositories(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        return _matching(patterns, _HUB_PATTERN, "my-org/*")

    @field_validator("https", "hf_hosts")
    @classmethod
    def _check_hosts(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        return _matching(patterns, _HOST_PATTERN, "*.example.org")

    @field_validator("s3")
    @classmethod
    def _check_buckets(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        return _matching(patterns, _BUCKET_PATTERN, "my-bucket/adapters/*")

    @field_validator("hf_endpoint")
    @classmethod
    def _check_endpoint(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname or "@" in parts.netloc or parts.query:
            raise ValueError("the hub's address must be like https://huggingface.co")
        return url.rstrip("/")

    @field_validator("private_networks")
    @classmethod
    def _check_networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        for network in networks:
            ipaddress.ip_network(network)
        return networks

    @field_validator("ca_file", "file")
    @classmethod
    def _expand(cls, path: Path | None) -> Path | None:
        return None if path is None else path.expanduser()


def _matching(patterns: tuple[str, ...], form: re.Pattern[str], example: str) -> tuple[str, ...]:
    for pattern in patterns:
        if form.fullmatch(pattern) is None:
            raise ValueError(f"{pattern!r} is no such pattern; one is like {example!r}")
    return patterns
