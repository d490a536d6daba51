"""A server without an engine for each test, on one encoder."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from router.encoders import make_encoder
from router.encoders.base import Encoder
from router.policies.config import parse_policy
from tests.support.bare_server import BareServer, bare_server

FROM_FILE = {
    name: parse_policy(name, raw)
    for name, raw in {
        "auto": {"kind": "softmax", "temperature": 0.05},
        "even": {"kind": "uniform", "description": "of the file"},
    }.items()
}


@pytest.fixture(scope="session")
def encoder(encoder_path: Path) -> Encoder:
    return make_encoder(str(encoder_path))


@pytest.fixture
def start(tiny_base: Path, encoder: Encoder, tmp_path: Path) -> Iterator[Callable[..., BareServer]]:
    """Start a server, on the same folder each time unless another one is given."""
    with ExitStack() as stack:

        def begin(folder: Path = tmp_path, **options) -> BareServer:
            from_file = options.pop("from_file", FROM_FILE)
            return stack.enter_context(
                bare_server(folder, tiny_base, encoder, from_file, **options)
            )

        yield begin


@pytest.fixture
def server(start) -> BareServer:
    return start()
