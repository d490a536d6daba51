"""A web, S3, folders, and what fetches from them; after each test nothing of it is left."""

import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapters.limits import Limits
from adapters.validation.base_model import read_base_model
from router.encoders import make_encoder
from server.sources.address import parse_source
from server.sources.download import open_web
from server.sources.fetch import Fetcher
from server.sources.progress import FetchProgress
from server.sources.settings import SourceSettings
from tests.support.archives import tar_gz_of, zip_of
from tests.support.web import Web, running_web
from tests.unit.server.sources.serving import Served, make_catalogue

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PAIR = [(CONFIG, b'{"r": 8}'), (WEIGHTS, b"weights" * 999)]
"""What is fetched; whether it is an adapter is not the sources' business."""

ZIP, TAR = zip_of(PAIR), tar_gz_of(PAIR)
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    folder = tmp_path / "web"
    folder.mkdir()
    with running_web(folder) as running:
        yield running


@pytest.fixture
def addresses() -> dict[str, list[str]]:
    """Host → what the tests' resolver says of it; others are at the web's own address."""
    return {}


@pytest.fixture
def fetcher(web: Web, addresses: dict[str, list[str]]) -> Callable[..., Fetcher]:
    """Make a fetcher that may do this and that; the web is the only network that it may use."""

    def make(limits: Limits | None = None, **allowed: Any) -> Fetcher:
        told = {
            "https": ("adapters.test",),
            "https_ports": (web.port,),
            "private_networks": ("127.0.0.1/32",),
            "ca_file": web.ca_file,
            "max_wait_s": 5,
            "max_fetch_s": 20,
            **allowed,
        }
        settings = SourceSettings(**told)

        def resolve(host: str, port: int) -> list[str]:
            return addresses.get(host, ["127.0.0.1"])

        return Fetcher(settings, limits or Limits(), replace(open_web(settings), resolve=resolve))

    return make


@pytest.fixture
def fetched(tmp_path: Path) -> Callable[..., dict[str, bytes]]:
    """Fetch from a source; returns what came. Whatever comes of it, nothing may stay open."""

    def fetch(
        fetcher: Fetcher, source: str, progress: FetchProgress | None = None
    ) -> dict[str, bytes]:
        stage = tmp_path / uuid.uuid4().hex
        stage.mkdir()
        progress = progress or FetchProgress(20)
        progress.begin()
        folder = fetcher.fetch(parse_source(source), stage, progress)
        assert [entry.name for entry in stage.iterdir() if entry.name != "unpacked"] == ["adapter"]
        return {entry.name: entry.read_bytes() for entry in folder.iterdir()}

    return fetch


@pytest.fixture
def nothing_stays() -> Iterator[None]:
    """After the test there are as many open files, sockets and threads as before."""
    before, threads = open_files(), threading.active_count()
    yield
    assert open_files() <= before
    assert threading.active_count() <= threads


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture(scope="session")
def base(tiny_base):
    return read_base_model(tiny_base, "tiny-llama")


@pytest.fixture(scope="session")
def encoder(encoder_path):
    return make_encoder(str(encoder_path))


@pytest.fixture
def good_folder(tiny_adapters) -> Path:
    return tiny_adapters["r8-a"]


@pytest.fixture
def other_folder(tiny_adapters) -> Path:
    return tiny_adapters["r8-b"]


@pytest.fixture
def archive(good_folder) -> bytes:
    return zip_of([(name, (good_folder / name).read_bytes()) for name in (CONFIG, WEIGHTS)])


@pytest.fixture
def served(tmp_path, fetcher, base, encoder):
    """Make an app that may import this and that."""
    made: list[Served] = []

    def make(**allowed) -> Served:
        catalogue = make_catalogue(tmp_path / "data", base, encoder)
        made.append(Served(tmp_path, fetcher(**allowed), catalogue))
        return made[-1]

    threads = threading.active_count()
    yield make
    for one in made:
        assert list(one.staging.iterdir()) == []
        one.catalogue.registry.close()
    names = [t.name for t in threading.enumerate()]
    assert threading.active_count() <= threads or "import" not in names, names
