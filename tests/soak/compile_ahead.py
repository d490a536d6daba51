"""A first server serves at once and compiles beside; the next one starts with what it left."""

import time
from pathlib import Path

import pytest

from tests.support import running_server
from tests.support.generation import Ask, generate
from tests.support.tiny_llama import BASE_NAME

ARGUMENTS = ("--dtype", "float32", "--max-loras", "2", "--max-model-len", "256")
PROMPT = tuple(30 + (17 * position) % 900 for position in range(40))
LONGEST_S = 400
COMPILED = "the base model is compiled"
COMPILING = "compiling the base model for this machine"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A cache of its own, but for the compiled kernel, which is not the matter here."""
    from server.prepare import cache_dir

    folder = tmp_path_factory.mktemp("cache")
    if (cache_dir() / "kernels").is_dir():
        (folder / "kernels").symlink_to(cache_dir() / "kernels")
    return {
        "LORALLOY_ENGINE__COMPILE": "beside",
        "LORALLOY_ENGINE__CACHE_DIR": str(folder),
    }


def test_the_first_start_serves_while_it_compiles_for_the_next(
    tiny_base: Path,
    tiny_adapters: dict[str, Path],
    environment: dict[str, str],
    tmp_path: Path,
) -> None:
    ask = Ask(PROMPT, {"model": "r8-a"})
    with running_server.running(
        tmp_path,
        tiny_base,
        BASE_NAME,
        {"r8-a": tiny_adapters["r8-a"]},
        arguments=ARGUMENTS,
        environment=environment,
    ) as first:
        assert COMPILING not in first.log.read_text()
        before = generate(first, [ask])[0]
        deadline = time.monotonic() + LONGEST_S
        while COMPILED not in first.log.read_text():
            assert "could not be compiled" not in first.log.read_text()
            assert time.monotonic() < deadline, "the base model was not compiled in time"
            time.sleep(1)
        assert not compilers_of(first.process.pid)
    assert len(list(Path(environment["LORALLOY_ENGINE__CACHE_DIR"], "compiled").iterdir())) == 1
    with running_server.running(
        tmp_path, tiny_base, BASE_NAME, {}, arguments=ARGUMENTS, environment=environment
    ) as second:
        after = generate(second, [ask])[0]
        log = second.log.read_text()
        assert COMPILING not in log
        assert COMPILED not in log
    assert after.tokens == before.tokens


def test_a_server_that_stops_takes_its_compiler_with_it(
    tiny_base: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    with running_server.running(
        tmp_path,
        tiny_base,
        BASE_NAME,
        {},
        arguments=ARGUMENTS,
        environment={**environment, "LORALLOY_ENGINE__CACHE_DIR": str(cache)},
    ) as server:
        deadline = time.monotonic() + LONGEST_S
        while not (found := compilers_of(server.process.pid)):
            assert time.monotonic() < deadline, "no compiler was started"
            time.sleep(0.2)
    gone = [pid for pid in found if not Path(f"/proc/{pid}").exists()]
    assert gone == found


def compilers_of(server: int) -> list[int]:
    """The processes that compile beside a server."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            command = (folder / "cmdline").read_bytes()
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if b"server.engine.compile_ahead" in command and parent == server:
            found.append(int(folder.name))
    return found
