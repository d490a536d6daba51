"""Settings of what every request passes: how much it may ask for, and which web pages may."""

from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

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


class CorsSettings(BaseModel):
    """Which web pages may call the server from within a browser."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    origins: tuple[str, ...] = Field(
        default=(),
        description="Origins of web pages that may call the server, as https://app.example; * for "
        "all pages, where a key is needed.",
    )

    @field_validator("origins")
    @classmethod
    def _check_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(_origin(one) for one in origins))

    @property
    def named(self) -> tuple[str, ...]:
        """The origins that are named one by one."""
        return tuple(one for one in self.origins if one != "*")


def _origin(given: str) -> str:
    """An origin as browsers send it."""
    text = given.strip().lower().rstrip("/")
    if text == "*":
        return text
    try:
        parts = urlsplit(text)
        is_origin = text == f"{parts.scheme}://{parts.netloc}" and bool(parts.hostname)
        is_origin = is_origin and parts.scheme in ("http", "https") and "@" not in parts.netloc
        is_origin = is_origin and (parts.port or 1) > 0
    except ValueError:
        is_origin = False
    if not is_origin:
        raise ValueError(
            f"{given!r} is no origin of web pages; it has the form https://HOST or https://HOST:PORT"
        )
    return text
