"""What one process does for all of a run, where there are several (``accelerate launch``)."""

from collections.abc import Callable
from typing import TypeVar, cast

from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from adapters.training.errors import TrainingError

_Result = TypeVar("_Result")


def is_first() -> bool:
    """Whether this process is the one that writes and tells."""
    return bool(PartialState().is_main_process)


def once(work: Callable[[], _Result]) -> _Result:
    """Do it in the first process; every process gets the result, or the error.

    Raises:
        TrainingError: the work raised it.
    """
    if PartialState().num_processes == 1:
        return work()
    told: list[object] = [None, None]
    if is_first():
        try:
            told[0] = work()
        except TrainingError as error:
            told[1] = str(error)
    broadcast_object_list(told)
    if told[1] is not None:
        raise TrainingError(str(told[1]))
    return cast(_Result, told[0])  # what the first process made
