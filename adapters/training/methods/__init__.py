"""The training methods: one file each, listed here. A new one is a new file and a new line.

A method's file imports torch and PEFT, so it is imported when the method is asked for, and not
before.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from adapters.training.errors import TrainingError

if TYPE_CHECKING:
    from adapters.training.methods.method import Method

METHODS: Final = (
    "lora",
    "full",
    "lori_d",
    "lori_s",
)


def check_method(name: str) -> None:
    """Refuse a name that no method has.

    Raises:
        TrainingError: there is none.
    """
    if name not in METHODS:
        raise TrainingError(f"there is no method {name!r}; there are {', '.join(METHODS)}")


def method_of(name: str) -> "Method[Any]":
    """A method by its name.

    Raises:
        TrainingError: there is none.
    """
    check_method(name)
    method: Method[Any] = import_module(f"{__name__}.{name}").METHOD
    return method
