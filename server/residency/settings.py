"""Settings of the wait for slots."""

from pydantic import BaseModel, ConfigDict, Field


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
        description="How long a removal is waited for before it is answered with a job, in "
        "seconds.",
    )
    pinned: tuple[str, ...] = Field(
        default=(), description="Names of adapters that keep their slots once they are in one."
    )
