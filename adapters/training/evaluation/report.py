"""The figures as JSON for programs and as a Markdown table for people."""

import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ValidationError

from adapters.training.run.card import Figure

LOSSES = ("loss", "held_out")
"""Metrics of which less is better."""

_LOCAL = ("dtype", "item_tokens", "weights")
"""What only models in this process have; a report of served ones leaves it out."""


class Source(BaseModel):
    """The items of one task.

    Attributes:
        file: that they are from.
        sha256: of the file.
        items: how many of its rows.
    """

    file: str
    sha256: str
    items: int


class Report(BaseModel):
    """Figures by model, task and metric, with what they were measured on.

    Attributes:
        where: the server's address, or the base model's public name.
        tasks: by their names.
        max_tokens: of a generated answer.
        dtype: that models in this process compute in.
        item_tokens: the longest item with its answer; none if items of any length were taken.
        weights: adapter → SHA-256 of its weights, where they are known.
        note: how it was made.
        figures: model → task → metric.
        seconds: model → how long it took.
    """

    where: str
    tasks: dict[str, Source]
    max_tokens: int
    dtype: str | None = None
    item_tokens: int | None = None
    weights: dict[str, str] = {}
    note: str = ""
    figures: dict[str, dict[str, dict[str, Figure]]] = {}
    seconds: dict[str, float] = {}

    def take_up(self, out: Path) -> None:
        """Fill in what ``out``.json has of the same models on the same items."""
        try:
            text = out.with_name(f"{out.name}.json").read_text(encoding="utf-8")
            before = Report.model_validate_json(text)
        except (OSError, ValidationError):
            return
        if before._setting() != self._setting():
            return
        for model, rows in before.figures.items():
            if before.weights.get(model) != self.weights.get(model):
                continue
            for task, figures in rows.items():
                if task in self.tasks and before.tasks.get(task) == self.tasks[task]:
                    self.figures.setdefault(model, {})[task] = figures
            self.seconds[model] = before.seconds.get(model, 0.0)

    def _setting(self) -> tuple[object, ...]:
        """What all figures of a report have in common."""
        return self.where, self.max_tokens, self.dtype, self.item_tokens

    def has(self, model: str, task: str, metric: str) -> bool:
        """Whether a cell is filled."""
        return metric in self.figures.get(model, {}).get(task, {})

    def put(self, model: str, task: str, metric: str, figure: Figure, seconds: float) -> None:
        """Fill one cell, and count how long it took."""
        self.figures.setdefault(model, {}).setdefault(task, {})[metric] = figure
        self.seconds[model] = round(self.seconds.get(model, 0.0) + seconds, 1)

    def write(self, out: Path) -> None:
        """Write ``out``.json and ``out``.md."""
        out.parent.mkdir(parents=True, exist_ok=True)
        unknown = {key for key in _LOCAL if not getattr(self, key)}
        text = json.dumps(self.model_dump(mode="json", exclude=unknown), indent=2)
        out.with_name(f"{out.name}.json").write_text(f"{text}\n", encoding="utf-8")
        out.with_name(f"{out.name}.md").write_text(self.markdown(), encoding="utf-8")

    def markdown(self) -> str:
        """One row a model, one column a task and metric; the best of each is bold."""
        columns = list(
            dict.fromkeys(
                (task, metric)
                for rows in self.figures.values()
                for task, figures in rows.items()
                for metric in figures
            )
        )
        best = {column: self._best(*column) for column in columns}
        lines = [
            f"# {', '.join(self.tasks)}: {len(self.figures)} models of {self.where}",
            "",
            "With 95 % bootstrap intervals over the items. `loss` is in nats a token of the answer",
            "(smaller is better), the others are shares of the items. The best of each is bold.",
            *self._of_held_out(columns),
            "",
            "| | " + " | ".join(f"{task}, {metric}" for task, metric in columns) + " |",
            "|---|" + "---|" * len(columns),
        ]
        for model, rows in self.figures.items():
            cells = [
                _cell(rows.get(task, {}).get(metric), best[task, metric])
                for task, metric in columns
            ]
            lines.append(f"| {model} | " + " | ".join(cells) + " |")
        lines.append("")
        lines += [
            f"- {task}: {one.items} items of `{one.file}`, SHA-256 `{one.sha256}`"
            for task, one in self.tasks.items()
        ]
        lines += ["", self._of_local()] if self.dtype else []
        lines += ["", self.note] if self.note else []
        return "\n".join(lines) + "\n"

    def _of_held_out(self, columns: Sequence[tuple[str, str]]) -> list[str]:
        """What this metric is, where it was measured."""
        if not any(metric == "held_out" for _, metric in columns):
            return []
        return ["`held_out` is a loss too, of the answer and the end of text, as cards have it."]

    def _of_local(self) -> str:
        """How models in this process were measured."""
        bound = f" that fit into {self.item_tokens} tokens" if self.item_tokens else ""
        return f"In {self.dtype}, on the first items of each file{bound}."

    def _best(self, task: str, metric: str) -> float:
        means = [
            rows[task][metric].mean
            for rows in self.figures.values()
            if metric in rows.get(task, {})
        ]
        return min(means) if metric in LOSSES else max(means)


def _cell(figure: Figure | None, best: float) -> str:
    if figure is None:
        return ""
    mean = f"**{figure.mean:.3f}**" if figure.mean == best else f"{figure.mean:.3f}"
    return f"{mean} ({figure.low:.3f}–{figure.high:.3f})"
