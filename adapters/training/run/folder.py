"""The folder of one run: what it was started with, its log, its checkpoints, its result.

run.json      recipe, base model and digests of the data: a resumed run must name the same
log.jsonl     one line a step
loss.svg      the same as a picture, once it is through
checkpoints/  removed when the run is through
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters.files import WEIGHTS_FILE
from adapters.training.errors import TrainingError


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Paths inside the output folder of a run, which is finished once it holds ``result``."""

    path: Path
    result: str = WEIGHTS_FILE

    @property
    def log(self) -> Path:
        """The log, JSON Lines."""
        return self.path / "log.jsonl"

    @property
    def checkpoints(self) -> Path:
        """Where the trainer keeps its state."""
        return self.path / "checkpoints"

    def open(self, identity: dict[str, Any], *, resume: bool) -> Path | None:
        """Begin or resume a run; returns the checkpoint to go on from, if there is one.

        Raises:
            TrainingError: the folder is in use, finished, or of another run.
        """
        record = self.path / "run.json"
        if (self.path / self.result).exists():
            raise TrainingError(f"{self.path} holds a finished run; name another --out")
        if not resume:
            if self.path.exists() and any(self.path.iterdir()):
                raise TrainingError(
                    f"{self.path} is not empty; --resume goes on with the run that is in it"
                )
            self._make(record, identity)
            return None
        if not record.exists():
            raise TrainingError(f"{self.path} holds no run to resume; start it without --resume")
        before = json.loads(record.read_text(encoding="utf-8"))
        now = json.loads(json.dumps(identity))
        if changed := sorted(key for key in now if now[key] != before.get(key)):
            raise TrainingError(
                f"the run in {self.path} was started with other values of: {', '.join(changed)}"
            )
        return self._last_whole_checkpoint()

    def _make(self, record: Path, identity: dict[str, Any]) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            record.write_text(json.dumps(identity, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise TrainingError(f"cannot write to {self.path}: {error.strerror}") from error

    def kept(self) -> str:
        """What is left of a run that broke off, for people."""
        last = self._last_whole_checkpoint()
        return "no checkpoint was written yet" if last is None else f"the last good one is {last}"

    def _last_whole_checkpoint(self) -> Path | None:
        """The newest checkpoint that was written to its end (the state file is written last)."""
        whole = [
            path.parent
            for path in self.checkpoints.glob("checkpoint-*/trainer_state.json")
            if _is_json(path)
        ]
        return max(whole, key=lambda path: int(path.name.split("-")[1]), default=None)

    def close(self) -> None:
        """The run is through: its checkpoints are of no more use."""
        shutil.rmtree(self.checkpoints, ignore_errors=True)


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return False
    return True
