"""Fixtures for all tests: the encoder, a tiny base model, its adapters, one real server."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# No test may ask a model hub.
os.environ["HF_HUB_OFFLINE"] = "1"


LONG_FIRST = (
    "test_token_scope_leftovers.py",
    "test_many_adapters.py",
    "test_shared_storage.py",
    "test_schema.py",
    "test_recipes_run.py",
    "test_restart.py",
    "test_token_scope_cramped.py",
)
"""Files that take minutes, begun first, so that the test processes end at about the same time."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What a change touches first, then long files; everything else as collected."""
    from tests.support.changed import changed_files, touched

    root = config.rootpath
    files = {item.path: item.path.relative_to(root).as_posix() for item in items}
    first = touched(files.values(), changed_files(root))
    places = {name: place for place, name in enumerate(LONG_FIRST)}

    def place(item: pytest.Item) -> int:
        return -1 if files[item.path] in first else places.get(item.path.name, len(places))

    items.sort(key=place)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which branches of the bank's kernel the run tried: a machine has not all of them."""
    from tests.support.kernel_branches import summary

    reports = [report for kind in terminalreporter.stats.values() for report in kind]
    if line := summary(reports):
        terminalreporter.write_line(line)


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        ours = name.startswith("LORALLOY_") and name != "LORALLOY_CACHE_DIR"
        if ours or name.startswith("AWS_"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def encoder_path() -> Path:
    """Folder of the default encoder, prepared from its package if it is not there yet."""
    from server.prepare import encoder_path, prepare

    prepare(quiet=True)
    return encoder_path()


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a three-layer random Llama in fp32."""
    from tests.support.tiny_llama import make_base

    return make_base(tmp_path_factory.mktemp("base") / "tiny-llama")


@pytest.fixture(scope="session")
def tiny_adapters(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """PEFT adapters for the tiny base, by name."""
    from tests.support.tiny_llama import make_adapters

    return make_adapters(tiny_base, tmp_path_factory.mktemp("adapters"))


@pytest.fixture(scope="session")
def tiny_static(
    tiny_base: Path, encoder_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Folder of a static encoder for the tiny base, of the default encoder's space."""
    from router.encoders import make_encoder
    from tests.support.static_encoder import make_static

    folder = tmp_path_factory.mktemp("static") / "static-tiny"
    return make_static(tiny_base, make_encoder(str(encoder_path)), folder)


@pytest.fixture(scope="session")
def server(
    tiny_base: Path,
    tiny_adapters: dict[str, Path],
    tiny_static: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator:
    """One real server for the whole run: fp32, the tiny base, all tiny adapters pushed."""
    from tests.support import running_server
    from tests.support.tiny_llama import BASE_NAME, TOPICS

    with running_server.running(
        tmp_path_factory.mktemp("server"),
        tiny_base,
        BASE_NAME,
        tiny_adapters,
        descriptions=TOPICS,
        arguments=(
            *("--dtype", "float32", "--max-loras", "10", "--max-model-len", "512"),
            *("--static-encoder", str(tiny_static)),
        ),
        environment={"LORALLOY_SOURCES__FILE": str(tiny_adapters["r8-a"].parent)},
    ) as running:
        yield running


@pytest.fixture(scope="session")
def postgres() -> Iterator:
    """One real PostgreSQL for the whole run."""
    from tests.support.postgres import running_postgres

    with running_postgres() as running:
        yield running


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    """One real S3 server for the whole run."""
    from tests.support.s3_server import running_s3

    with running_s3(tmp_path_factory.mktemp("s3")) as running:
        yield running
