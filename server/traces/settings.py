"""Settings of kept traces."""

from pydantic import BaseModel, ConfigDict, Field


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
