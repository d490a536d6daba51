"""What a run works on: task, base model, data, and files of earlier runs."""

from pydantic import BaseModel, ConfigDict, Field

from adapters.training.errors import TrainingError


class HubData(BaseModel):
    """A dataset of a hub, or in a folder that the library ``datasets`` reads."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hub: str = Field(description="name on the hub, or a folder")
    subset: str | None = Field(None, description="configuration of the dataset")
    split: str = Field("train", description="which part")
    revision: str | None = Field(None, description="commit; without it, the newest")
    rename: dict[str, str] = Field({}, description="column of the dataset: field of the task")


class Job(BaseModel):
    """Which task is learned by which base model, from which data."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: str = Field(description="the form of its text; docs/training.md lists them")
    base_model: str = Field(description="folder or hub name; else the server's default model")
    data: tuple[str | HubData, ...] = Field(
        min_length=1, description="JSON Lines files, or datasets of a hub"
    )
    data_name: str = Field("data of the user", description="for the card")
    data_licence: str = Field("not stated", description="for the card")
    mask: str | None = Field(None, description="lori_s: which entries of B are trained")
    reuse_a: str | None = Field(None, description="adapter whose A is taken, B being 0")
    start_from: str | None = Field(None, description="adapter whose A and B are trained further")

    def needed(self, field: str) -> str:
        """A field that a method cannot do without.

        Raises:
            TrainingError: the recipe does not say it.
        """
        value = getattr(self, field)
        if value is None:
            raise TrainingError(f"the recipe says no {field!r}; --set {field}=PATH gives it")
        return str(value)
