"""What a run shows and records of each step: a progress bar, and a line of JSON in the log."""

import json
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from transformers import TrainerControl, TrainerState, TrainingArguments

from adapters.training.run.steps import StepCallback


class StepReport(StepCallback):
    """Reports each optimiser step; ``tokens`` holds the number of tokens of each step's batch."""

    def __init__(self, log: Path, title: str, tokens: list[int], *, quiet: bool) -> None:
        """Log to ``log``; show a bar called ``title`` unless ``quiet``."""
        self._log = log
        self._tokens = tokens
        self._title = title
        self._began = 0.0
        self._first_step = 0
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]}  {task.fields[rate]} tokens/s"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=quiet,
        )
        self._task = self._bar.add_task(title, total=len(tokens), loss="–", rate="–")

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        """Start the clock, and forget logged steps that a resumed run will take again."""
        self._began = time.monotonic()
        self._first_step = state.global_step
        if not state.is_world_process_zero:
            return
        kept = [line for line in self._lines() if json.loads(line)["step"] <= state.global_step]
        self._log.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
        self._bar.start()
        self._bar.update(self._task, completed=state.global_step)

    def on_step(self, state: TrainerState, logs: dict[str, float]) -> None:
        """Write down one step."""
        if not state.is_world_process_zero:
            return
        seconds = time.monotonic() - self._began
        tokens = sum(self._tokens[self._first_step : state.global_step])
        entry = {
            "step": state.global_step,
            "loss": logs["loss"],
            "learning_rate": logs["learning_rate"],
            "tokens": self._tokens[state.global_step - 1],
            "seconds": round(seconds, 2),
        }
        with self._log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
        self._bar.update(
            self._task,
            completed=state.global_step,
            loss=f"{float(logs['loss']):.3f}",
            rate=f"{tokens / seconds:.0f}",
        )

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        """Leave the bar as it stands."""
        self.stop()

    def stop(self) -> None:
        """Give the terminal back, also where training broke off."""
        self._bar.stop()

    def _lines(self) -> list[str]:
        """Whole lines of the log; the last may have been cut off."""
        if not self._log.exists():
            return []
        return [line for line in self._log.read_text("utf-8").splitlines() if line.endswith("}")]
