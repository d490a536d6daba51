"""Settings of imports: where adapters may come from."""

import ipaddress
import re
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

_HOST_PATTERN = re.compile(r"[a-z0-9.*:-]{1,253}")


_HUB_PATTERN = re.compile(r"[A-Za-z0-9._*-]{1,96}/[A-Za-z0-9._*-]{1,96}")


_BUCKET_PATTERN = re.compile(r"[a-z0-9.*-]{1,63}(/[^/\s?#\[\]]+)*")


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
            raise ValueError(
                f"{pattern!r} cannot be used as a pattern here; write one like {example!r}"
            )
    return patterns
