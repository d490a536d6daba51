"""The adapter card: what it was trained on, how, and how well it does. JSON, and prose from it."""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from adapters.training.recipe import Recipe

CARD_FILE = "card.json"


class DataSource(BaseModel):
    """The data of a run: its name, its licence, and the digest of each file."""

    model_config = ConfigDict(frozen=True)

    name: str
    licence: str
    files: dict[str, str]
    examples: int


class Figure(BaseModel):
    """A mean over items, with a 95 % bootstrap interval."""

    model_config = ConfigDict(frozen=True)

    mean: float
    low: float
    high: float


class CardRecipe(Recipe):
    """The recipe as a card keeps it: with what the method alone was to know beside its keys."""

    model_config = ConfigDict(extra="allow")


class Card(BaseModel):
    """Everything that a reader should know of an adapter, in a form that programs read too.

    Attributes:
        name: of the adapter.
        task: that it learned.
        method: by which it was trained.
        product: what it is, as the first sentence begins.
        base_model: its public name.
        data: what it learned from.
        inputs: what it takes from earlier runs: the recipe's key → SHA-256.
        recipe: by which numbers.
        steps: that were taken.
        seconds: of training.
        tokens: that it was trained on.
        bytes: of the weights.
        peak_memory: bytes.
        held_out: task → "base" or "adapter" → loss in nats a token, by ``loralloy eval``.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    task: str
    method: str = "lora"
    product: str = "A LoRA adapter for"
    base_model: str
    data: DataSource
    inputs: dict[str, str] = {}
    recipe: CardRecipe
    steps: int | None = None
    seconds: float
    tokens: int
    bytes: int
    peak_memory: int | None = None
    held_out: dict[str, dict[str, Figure]] = {}

    def write(self, folder: Path) -> None:
        """Write ``card.json`` and ``README.md`` into the adapter's folder."""
        text = json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=False)
        (folder / CARD_FILE).write_text(text + "\n", encoding="utf-8")
        (folder / "README.md").write_text(self.prose(), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> "Card":
        """The card of an adapter's folder."""
        return cls.model_validate_json((folder / CARD_FILE).read_text(encoding="utf-8"))

    def prose(self) -> str:
        """The card as Markdown, with the front matter that model hubs read."""
        recipe = self.recipe.model_dump(exclude_none=True)
        recipe["targets"] = ", ".join(self.recipe.targets)
        lines = [
            "---",
            "library_name: peft",
            f"base_model: {self.base_model}",
            f"tags: [lora, {self.task}]",
            "---",
            "",
            f"# {self.name}",
            "",
            f"{self.product} {self.base_model}, trained on the task *{self.task}* by",
            f"`loralloy train {self.method}` (loss on the answer alone).",
            "",
            "## Data",
            "",
            f"{self.data.name}, licence: {self.data.licence}. {self.data.examples} examples fitted",
            f"into {self.recipe.max_tokens} tokens. SHA-256 of the files:",
            "",
            *(f"- `{name}` `{digest}`" for name, digest in self.data.files.items()),
            "",
            "## Recipe",
            "",
            *_table(["setting", "value"], [[key, str(value)] for key, value in recipe.items()]),
            "",
            f"{self.tokens} tokens in {self.seconds:.0f} seconds; {self.bytes} bytes of weights.",
            *(f"`{key}`: SHA-256 `{digest}`" for key, digest in self.inputs.items()),
        ]
        if self.peak_memory is not None:
            lines.append(f"At most {self.peak_memory / 2**30:.2f} GiB of memory.")
        return "\n".join([*lines, *self._scores()]) + "\n"

    def _scores(self) -> list[str]:
        if not self.held_out:
            return []
        rows = [
            [task, _shown(losses["base"]), _shown(losses["adapter"])]
            for task, losses in self.held_out.items()
        ]
        return [
            "",
            "## Held-out loss",
            "",
            "Nats a token of the answer, with a 95 % bootstrap interval over the items.",
            "",
            *_table(["task", "base model", "this adapter"], rows),
        ]


def _shown(loss: Figure) -> str:
    return f"{loss.mean:.3f} ({loss.low:.3f}–{loss.high:.3f})"


def _table(head: list[str], rows: list[list[Any]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]
