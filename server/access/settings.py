"""Settings of keys that say nothing of their own, and of the audit log."""

from pydantic import BaseModel, ConfigDict, Field


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
