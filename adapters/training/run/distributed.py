"""What one process does for all of a run, where there are several (``accelerate launch``)."""

from collections.abc import Callable
from typing import TypeVar, cast

from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from adapters.training.errors import TrainingError

_Result = TypeVar("_Result")


def is_first() -> bool:
    """Whether this process is the one that writes files and messages."""
    return bool(PartialState().is_main_process)


def once(work: Callable[[], _Result]) -> _Result:
    """Do it in the first process; every process gets the result, or the error.

    Raises:
        TrainingError: the work raised it.
    """
    if PartialState().num_processes == 1:
        return work()
    outcome: list[object] = [None, None]  # the result, the error's message
    if is_first():
        try:
            outcome[0] = work()
        except TrainingError as error:
            outcome[1] = str(error)
    broadcast_object_list(outcome)
    if outcome[1] is not None:
        raise TrainingError(str(outcome[1]))
    return cast(_Result, outcome[0])  # what the first process made
