"""The server's log: a line for each message, whatever it quotes, and nothing in it is a command.

Messages quote strangers: names, paths, sources, what a library said of a request. The records are
made safe before any handler formats them, since uvicorn and vLLM bring handlers of their own.
"""

import copy
import logging
from typing import Any, Final

from uvicorn.config import LOGGING_CONFIG

from adapters.printable import printable, printable_lines

_PLAIN = (str, int, float)
_NAME: Final = "safe"


class SafeRecords(logging.Filter):
    """Lets every record through, its text fit to be printed; only tracebacks have several lines."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Make one record safe; doing it again changes nothing."""
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        record.exc_text = record.exc_text and printable_lines(record.exc_text)
        record.stack_info = record.stack_info and printable_lines(record.stack_info)
        try:
            message = record.getMessage()
        except (TypeError, ValueError):  # a format that does not fit is told all the same
            message, record.args = f"{record.msg} {record.args!r}", None
        given = record.args
        if isinstance(given, tuple) and all(isinstance(one, _PLAIN) for one in given):
            # Kept apart: uvicorn's lines of requests are made of them.
            record.args = tuple(printable(one) if isinstance(one, str) else one for one in given)
            record.msg = printable(record.msg)
        else:
            record.msg, record.args = printable(message), None
        return True


def uvicorn_config() -> dict[str, Any]:
    """Uvicorn's own configuration of its log, with safe records."""
    config = copy.deepcopy(LOGGING_CONFIG)
    config["filters"] = {_NAME: {"()": SafeRecords}}
    for handler in config["handlers"].values():
        handler["filters"] = [_NAME]
    return config


def make_safe(*loggers: str) -> None:
    """Make what the handlers of these loggers write safe."""
    for name in loggers:
        for handler in logging.getLogger(name).handlers:
            if not any(isinstance(one, SafeRecords) for one in handler.filters):
                handler.addFilter(SafeRecords())
