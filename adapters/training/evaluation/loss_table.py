"""The table of losses: base and adapters by tasks, as JSON for programs and Markdown for people."""

import json
from pathlib import Path

from pydantic import BaseModel, ValidationError

from adapters.training.run.card import Loss

BASE = "base"
"""The name of the row without any adapter; no adapter may be called so."""


class Task(BaseModel):
    """One column: which file, its digest, and how many of its items were used."""

    file: str
    sha256: str
    items: int


class LossTable(BaseModel):
    """Losses by model (rows) and task (columns), with what they were measured on."""

    base_model: str
    dtype: str
    tasks: dict[str, Task]
    adapters: dict[str, str]
    """Name → SHA-256 of the weights."""
    losses: dict[str, dict[str, Loss]] = {}
    note: str = ""
    """How it was made: command, machine."""

    @classmethod
    def resumed(
        cls,
        out: Path,
        *,
        base_model: str,
        dtype: str,
        tasks: dict[str, Task],
        adapters: dict[str, str],
    ) -> "LossTable":
        """An empty table, or the one at ``out`` without the cells that no longer hold."""
        table = cls(base_model=base_model, dtype=dtype, tasks=tasks, adapters=adapters)
        try:
            before = cls.model_validate_json(out.with_suffix(".json").read_text("utf-8"))
        except (OSError, ValidationError):
            return table
        if (before.base_model, before.dtype) != (base_model, dtype):
            return table
        for name, row in before.losses.items():
            if name != BASE and before.adapters.get(name) != adapters.get(name, ""):
                continue
            for task, loss in row.items():
                if task in tasks and before.tasks[task] == tasks[task]:
                    table.put(name, task, loss)
        return table

    def put(self, model: str, task: str, loss: Loss) -> None:
        """Fill one cell."""
        self.losses.setdefault(model, {})[task] = loss

    def loss(self, model: str, task: str) -> Loss:
        """One cell, which must be filled."""
        return self.losses[model][task]

    def missing(self) -> list[tuple[str, str]]:
        """The cells (model, task) that are still empty."""
        return [
            (model, task)
            for model in (BASE, *self.adapters)
            for task in self.tasks
            if task not in self.losses.get(model, {})
        ]

    def write(self, out: Path) -> None:
        """Write ``out``.json and ``out``.md."""
        out.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.model_dump(mode="json"), indent=2)
        out.with_suffix(".json").write_text(text + "\n", encoding="utf-8")
        out.with_suffix(".md").write_text(self.markdown(), encoding="utf-8")

    def markdown(self) -> str:
        """The table; the smallest loss of each task is bold."""
        best = {
            task: min((row[task].mean for row in self.losses.values() if task in row), default=0.0)
            for task in self.tasks
        }
        lines = [
            f"# Held-out loss of {', '.join(self.adapters)} on {self.base_model}",
            "",
            "Nats a token of the answer (smaller is better), with a 95 % bootstrap interval over",
            f"the items; {self.dtype}. The smallest of each task is bold.",
            "",
            "| | " + " | ".join(self.tasks) + " |",
            "|---|" + "---|" * len(self.tasks),
        ]
        for model, row in self.losses.items():
            cells = [_cell(row.get(task), best[task]) for task in self.tasks]
            lines.append(f"| {model} | " + " | ".join(cells) + " |")
        lines += ["", "Items: the first of each file that fit into 512 tokens."]
        lines += [
            f"- {name}: {task.items} of `{task.file}`, SHA-256 `{task.sha256}`"
            for name, task in self.tasks.items()
        ]
        lines += ["", self.note] if self.note else []
        return "\n".join(lines) + "\n"


def _cell(loss: Loss | None, best: float) -> str:
    if loss is None:
        return ""
    mean = f"**{loss.mean:.3f}**" if loss.mean == best else f"{loss.mean:.3f}"
    return f"{mean} ({loss.low:.3f}–{loss.high:.3f})"
