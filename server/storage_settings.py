"""Settings of a store and a database outside the data folder."""

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from adapters.storage import DEFAULT_CACHE_BYTES


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
