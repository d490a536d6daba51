"""The figures as JSON for programs and as a Markdown table for people."""

import json
from pathlib import Path

from pydantic import BaseModel, ValidationError

from adapters.training.evaluation.scores import Share


class Source(BaseModel):
    """The items of one task: which file, its digest, how many of its rows."""

    file: str
    sha256: str
    items: int


class Report(BaseModel):
    """Figures by model, task and metric, with what they were measured on."""

    where: str
    """The server's address, or the base model's name."""
    tasks: dict[str, Source]
    max_tokens: int
    """Of a generated answer."""
    note: str = ""
    figures: dict[str, dict[str, dict[str, Share]]] = {}
    """Model → task → metric."""
    seconds: dict[str, float] = {}
    """Model → how long it took."""

    def take_up(self, out: Path) -> None:
        """Fill in what ``out``.json has, measured at the same place on the same items."""
        try:
            text = out.with_name(f"{out.name}.json").read_text(encoding="utf-8")
            before = Report.model_validate_json(text)
        except (OSError, ValidationError):
            return
        if (before.where, before.max_tokens) != (self.where, self.max_tokens):
            return
        for model, rows in before.figures.items():
            for task, shares in rows.items():
                if task in self.tasks and before.tasks.get(task) == self.tasks[task]:
                    self.figures.setdefault(model, {})[task] = shares
        self.seconds = before.seconds

    def has(self, model: str, task: str, metric: str) -> bool:
        """Whether a cell is filled."""
        return metric in self.figures.get(model, {}).get(task, {})

    def put(self, model: str, task: str, metric: str, share: Share, seconds: float) -> None:
        """Fill one cell, and count how long it took."""
        self.figures.setdefault(model, {}).setdefault(task, {})[metric] = share
        self.seconds[model] = round(self.seconds.get(model, 0.0) + seconds, 1)

    def write(self, out: Path) -> None:
        """Write ``out``.json and ``out``.md."""
        out.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.model_dump(mode="json"), indent=2)
        out.with_name(f"{out.name}.json").write_text(f"{text}\n", encoding="utf-8")
        out.with_name(f"{out.name}.md").write_text(self.markdown(), encoding="utf-8")

    def markdown(self) -> str:
        """One row a model, one column a task and metric; the best of each is bold."""
        columns = list(
            dict.fromkeys(
                (task, metric)
                for rows in self.figures.values()
                for task, shares in rows.items()
                for metric in shares
            )
        )
        best = {column: self._best(*column) for column in columns}
        lines = [
            f"# {', '.join(self.tasks)}: {len(self.figures)} models of {self.where}",
            "",
            "With 95 % bootstrap intervals over the items. `loss` is in nats a token of the answer",
            "(smaller is better), the others are shares of the items. The best of each is bold.",
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
        lines += ["", self.note] if self.note else []
        return "\n".join(lines) + "\n"

    def _best(self, task: str, metric: str) -> float:
        means = [
            rows[task][metric].mean
            for rows in self.figures.values()
            if metric in rows.get(task, {})
        ]
        return min(means) if metric == "loss" else max(means)


def _cell(share: Share | None, best: float) -> str:
    if share is None:
        return ""
    mean = f"**{share.mean:.3f}**" if share.mean == best else f"{share.mean:.3f}"
    return f"{mean} ({share.low:.3f}–{share.high:.3f})"
