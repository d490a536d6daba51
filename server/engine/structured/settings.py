"""Settings of structured output: how large a constraint may be, and how long it may compile."""

from pydantic import BaseModel, ConfigDict, Field


class StructuredOutputSettings(BaseModel):
    """How much an answer's constraint, and the fields that are passed through, may ask for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_bytes: int = Field(
        default=65_536,
        ge=1,
        description="Largest constraint of an answer (schema, regex, choices, grammar), in bytes.",
    )
    max_tools: int = Field(default=128, ge=1, description="Most tools of one request.")
    max_tools_bytes: int = Field(
        default=262_144, ge=1, description="Largest tools of a request all together, in bytes."
    )
    max_depth: int = Field(
        default=64, ge=1, le=128, description="Most levels of objects and lists in a schema."
    )
    max_properties: int = Field(
        default=1_000, ge=1, description="Most properties and definitions of a schema in all."
    )
    max_alternatives: int = Field(
        default=1_000,
        ge=1,
        description="Most choices, values of enums and other alternatives of a constraint in all.",
    )
    max_regex_size: int = Field(
        default=4_096,
        ge=1,
        description="Longest regex, in characters with its repetitions written out.",
    )
    max_rules: int = Field(default=500, ge=1, description="Most rules of a grammar.")
    max_stop_texts: int = Field(
        default=64, ge=1, description="Most texts of stop and of bad_words, each."
    )
    max_entries: int = Field(
        default=1_024, ge=1, description="Most entries of stop_token_ids and of logit_bias, each."
    )
    max_token_ids: int = Field(
        default=16_384,
        ge=1,
        description="Most entries of allowed_token_ids and of logprob_token_ids, each.",
    )
    max_options_bytes: int = Field(
        default=32_768,
        ge=1,
        description="Largest bad_words, chat_template_kwargs and the like, in bytes.",
    )
    max_compile_s: float = Field(
        default=10.0,
        gt=0,
        description="Most processor time that a constraint may compile for, in seconds.",
    )
    max_compile_mib: int = Field(
        default=2_048, ge=64, description="Most memory that one compilation may take, in MiB."
    )
    max_compilations: int = Field(
        default=2, ge=1, description="Most compilations at once; one for each key."
    )
    max_step_ms: int = Field(
        default=50,
        ge=1,
        description="Most processor time that a grammar may take for one token, in milliseconds.",
    )
