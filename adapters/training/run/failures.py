"""How a run breaks off, with the last good checkpoint kept: a loss of NaN, a disk that is full."""

import errno
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError
from transformers import TrainerState

from adapters.training.errors import TrainingError
from adapters.training.run.steps import StepCallback

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class StopAtNaN(StepCallback):
    """Ends a run at the first step whose loss or gradient is not finite.

    A step is logged before it is saved, so that every checkpoint is of finite weights.
    """

    def on_step(self, state: TrainerState, logs: dict[str, float]) -> None:
        """Look at one step."""
        for key, title in (("loss", "loss"), ("grad_norm", "gradient's norm")):
            value = float(logs.get(key, 0.0))
            if not math.isfinite(value):
                raise TrainingError(
                    f"training diverged: the {title} of step {state.global_step} is {value}; "
                    "lower learning_rate"
                )


@contextmanager
def naming_full_disk(folder: Path) -> Iterator[None]:
    """Turns what the libraries raise when they cannot write into one line.

    Raises:
        TrainingError: something could not be written into ``folder``.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise TrainingError(f"cannot write to {folder}: {error.strerror}") from error
    except SafetensorError as error:
        raise TrainingError(f"cannot write to {folder}: {error}") from error
    except RuntimeError as error:
        # torch.save has no error of its own for this, and names the file it is written in.
        if "inline_container" not in str(error):
            raise
        raise TrainingError(f"cannot write to {folder}: is the disk full?") from error
