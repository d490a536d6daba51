"""A server without an engine for each test, on one encoder."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from router.encoders import make_encoder
from router.encoders.base import Encoder
from router.policies.config import parse_policy
from server.edge.settings import CorsSettings
from tests.support.access import made
from tests.support.bare_server import BareServer, bare_server

SEEN, HIDDEN = "maths", "secret"
"""Two adapters of the shared server, and what its users see of them."""

PAGE = "https://app.example"
"""The origin of the web page that may call it."""

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


@pytest.fixture(scope="module")
def shared(
    tiny_base: Path,
    encoder: Encoder,
    tiny_adapters: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[BareServer]:
    """One server for a module's tests, which leave it as it is: two adapters, one web page."""
    cors = CorsSettings(origins=(PAGE,))
    folder = tmp_path_factory.mktemp("shared")
    with bare_server(folder, tiny_base, encoder, FROM_FILE, cors=cors) as server:
        server.push(SEEN, tiny_adapters["r8-a"])
        server.push(HIDDEN, tiny_adapters["r8-b"])
        yield server


@pytest.fixture(scope="module")
def user(shared: BareServer) -> dict[str, str]:
    """Headers of a user of the shared server who sees one of its adapters."""
    key, _ = made(shared.keys, "user", SEEN)
    shared.parts.access.key_refresh.look()
    return shared.holding(key)


@pytest.fixture
def server(start) -> BareServer:
    return start()
