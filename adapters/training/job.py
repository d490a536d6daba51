"""What a run works on: task, base model, data, and an adapter of an earlier run."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from adapters.files import WEIGHTS_FILE


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
    start_from: str | None = Field(None, description="adapter whose A and B are trained further")

    def inputs(self) -> dict[str, Path]:
        """Key → the file of an earlier run that it names."""
        if self.start_from is None:
            return {}
        return {"start_from": Path(self.start_from) / WEIGHTS_FILE}
