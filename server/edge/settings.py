"""Settings of bodies and uploads: how much one request may ask for."""

from pydantic import BaseModel, ConfigDict, Field

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
