"""Lines of the server's log, as its own handler, uvicorn's and vLLM's write them."""

import io
import logging
import logging.config

import pytest
from rich.console import Console
from rich.logging import RichHandler

from server.start.log_lines import SafeRecords, make_safe, uvicorn_config
from tests.support.hostile_text import HOSTILE, commands_in


def plain(stream: io.StringIO) -> logging.Handler:
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    return handler


def rich(stream: io.StringIO) -> logging.Handler:
    return RichHandler(console=Console(file=stream, width=5000), show_path=False, show_time=False)


@pytest.fixture(params=[plain, rich])
def log(request):
    """A logger that nobody else hears, and what it has written."""
    stream = io.StringIO()
    handler = request.param(stream)
    handler.addFilter(SafeRecords())
    logger = logging.Logger("strangers")
    logger.addHandler(handler)
    return logger, stream


MESSAGES = [
    ("adapter %s is left out: %s", ("maths", HOSTILE)),
    ("adapter %s is left out: %s", ("maths", ValueError(HOSTILE))),
    ("%(name)s", ({"name": HOSTILE},)),
    (HOSTILE.replace("%", ""), ()),
    ("a number %d and %s", (3, [HOSTILE])),
    ("does not fit %d %d", (HOSTILE,)),
]


@pytest.mark.parametrize(("message", "given"), MESSAGES)
def test_a_message_is_one_line_that_commands_nothing(log, message, given, capsys):
    logger, stream = log
    logger.warning(message, *given)
    written = stream.getvalue()
    assert commands_in(written) == set()
    assert len(written.splitlines()) == 1
    assert commands_in(capsys.readouterr().out) == set()


def test_a_traceback_has_its_lines_and_commands_nothing(log):
    logger, stream = log
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        logger.exception("request %s failed", HOSTILE)
    written = stream.getvalue()
    assert commands_in(written) == set()
    assert "Traceback" in written
    assert len(written.splitlines()) > 3


def test_uvicorns_lines_are_as_they_were_but_safe(capsys):
    logging.config.dictConfig(uvicorn_config())
    try:
        access = ("127.0.0.1:1", "GET", "/v1/models", "1.1", 200)
        logging.getLogger("uvicorn.access").info('%s - "%s %s HTTP/%s" %d', *access)
        strange = ("127.0.0.1:1", "GET", f"/?{HOSTILE}", "1.1", 200)
        logging.getLogger("uvicorn.access").info('%s - "%s %s HTTP/%s" %d', *strange)
        logging.getLogger("uvicorn.error").error("Exception in %s", HOSTILE)
    finally:
        for name in ("uvicorn", "uvicorn.access", "uvicorn.error"):
            logging.getLogger(name).handlers.clear()
            logging.getLogger(name).propagate = True
    out, err = capsys.readouterr()
    assert '127.0.0.1:1 - "GET /v1/models HTTP/1.1" 200' in out
    assert commands_in(out + err) == set()
    assert len((out + err).splitlines()) == 3


def test_handlers_of_others_are_made_safe_once():
    stream, logger = io.StringIO(), logging.getLogger("a library")
    handler = plain(stream)
    logger.addHandler(handler)
    try:
        make_safe("a library")
        make_safe("a library")
        assert len(handler.filters) == 1
        logger.error("of a prompt: %s", HOSTILE)
        assert commands_in(stream.getvalue()) == set()
    finally:
        logger.removeHandler(handler)
