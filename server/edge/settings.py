"""Settings of what every request passes: how much it may ask for, and which web pages may."""

from typing import Final, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

_MIB = 2**20
_USUAL_LENGTH: Final = 2048

TEXT_BYTES: Final = 16
"""Bytes of text for each token of the longest prompt. English has 4 to 5 a token, Chinese in UTF-8
up to 9, deeply indented code 8; the longest words of vocabularies would allow 100, at which a text
that never fits keeps a tokeniser busy for long."""


BYTES_OF_TOKEN: Final = 4
"""Bytes that a token of ordinary text stands for, at least."""


class LimitSettings(BaseModel):
    """How much one request may ask for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_body_bytes: int | None = Field(
        default=None, ge=1024, description="Largest JSON body, in bytes; by the model's length."
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
    max_answers: int = Field(
        default=256, ge=1, description="Most answers in one request, to all prompts together."
    )
    max_text_bytes: int | None = Field(
        default=None,
        ge=64,
        description="Longest text that is tokenised at once, in bytes; by the model's length.",
    )

    def fitted(self, max_model_len: int) -> Self:
        """The same with every limit that hangs on the longest prompt, in tokens."""
        return self.model_copy(
            update={
                "max_body_bytes": self.max_body_bytes or body_bytes_for(max_model_len),
                "max_text_bytes": self.max_text_bytes or TEXT_BYTES * max_model_len,
            }
        )

    @property
    def body_bytes(self) -> int:
        """Largest JSON body, in bytes."""
        return self.max_body_bytes or body_bytes_for(_USUAL_LENGTH)

    @property
    def text_bytes(self) -> int:
        """Longest text that is tokenised at once, in bytes."""
        return self.max_text_bytes or TEXT_BYTES * _USUAL_LENGTH

    @property
    def ids_of_text(self) -> int:
        """Most token ids that are made a text at once: those of ordinary text of full length.

        A tokenizer holds the interpreter while it does so, and no other request is served.
        """
        return self.text_bytes // BYTES_OF_TOKEN


def body_bytes_for(max_model_len: int) -> int:
    """Room for many prompts of full length, whose token ids take 512 bytes a token together.

    That is 64 prompts of ids of up to seven digits: 1 MiB where the longest prompt has 2,048
    tokens, and never more than 16 MiB.
    """
    return min(max(_MIB, 512 * max_model_len), 16 * _MIB)


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
