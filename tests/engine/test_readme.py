"""The README's commands, as printed, against a real server.

Three things are exchanged, since the tests' server has a base model and adapters of its own: the
address, the base model's name and the names of the demo adapters. ``make serve`` starts servers of
its own: its options are handed to ``loralloy serve --print-config`` instead.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.running_server import RunningServer

ROOT = Path(__file__).resolve().parents[2]
DEMOS = {"maths": "r8-a", "code": "r8-b", "science": "r8-c", "reading": "r8-d"}
UPLOADED = ("sums", "more-sums")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = FENCE.findall((ROOT / "README.md").read_text(encoding="utf-8"))
MAKE = re.compile(r"^make (?P<target>[a-z]+)(?: ARGS=(?P<args>.+))?$", re.MULTILINE)

TOLD: dict[str, list[str]] = {
    '"model": "auto",\n': ['"policy": "auto"', '"completion_tokens"', '"scores"', " by auto]"],
    "from openai import OpenAI": ["{'science': 0.7, 'reading': 0.3}", "\nauto\n"],
    '"stream": true': ['data: {"mixture": {"adapters"', "data: [DONE]"],
    "/v1/route": ['"members"', '"total_ms"', '"text_window"', "adapter", "weight", "policy auto"],
    "-F name=sums": [
        '"id":"sums"',
        '"has_centroid":true',
        "more-sums: version 1, rank 8",
        "\nsums: removed",
    ],
    "policies check": ["auto", "careful", "blend", "softmax", "fixed"],
}
"""A text that marks a block → what its output must hold."""


def translated(text: str, server: RunningServer) -> str:
    text = text.replace("http://127.0.0.1:8000", server.url)
    text = text.replace("SmolLM2-135M-Instruct", server.base)
    return re.sub(rf"\b({'|'.join(DEMOS)})\b", lambda found: DEMOS[found[0]], text)


def is_run(language: str, text: str) -> bool:
    """Whether anything is left of a block once ``make`` is taken out."""
    return language == "python" or (language == "bash" and bool(MAKE.sub("", text).strip()))


@pytest.fixture(scope="module")
def checkout(server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the README's relative paths lead to the tests' adapters."""
    folder = tmp_path_factory.mktemp("checkout")
    demos = folder / "examples" / "adapters"
    demos.mkdir(parents=True)
    for name in DEMOS.values():
        (demos / name).symlink_to(server.adapters[name])
    # Without this an answer of 400 and above is a success to curl.
    (folder / ".curlrc").write_text("fail-with-body\nmax-time = 120\n")
    return folder


@pytest.fixture(autouse=True)
def _leave_no_upload(server: RunningServer) -> Iterator[None]:
    yield
    with server.client() as client:
        for name in UPLOADED:
            client.delete(f"/v1/adapters/{name}")


def run(command: list[str], server: RunningServer, folder: Path) -> str:
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "CURL_HOME": str(folder),
        "COLUMNS": "160",
        "LORALLOY_URL": server.url,
    }
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, f"{command[-1]}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize(
    "number", [number for number, block in enumerate(BLOCKS) if is_run(*block)]
)
def test_the_commands_work_as_printed(number: int, server: RunningServer, checkout: Path) -> None:
    language, text = BLOCKS[number]
    said = translated(MAKE.sub("", text), server)
    interpreter = [sys.executable] if language == "python" else ["bash", "-euo", "pipefail"]
    output = run([*interpreter, "-c", said], server, checkout)
    expected = [one for mark, told in TOLD.items() if mark in text for one in told]
    if BLOCKS[number + 1][0] == "text":
        expected += BLOCKS[number + 1][1].splitlines()
    assert expected, f"nothing is known of what this block should print:\n{text}"
    for one in expected:
        assert translated(one, server) in output


@pytest.mark.parametrize(
    ("target", "options"), [found for _, text in BLOCKS for found in MAKE.findall(text)]
)
def test_the_make_commands_exist_and_take_these_options(
    target: str, options: str, tmp_path: Path
) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    if target != "serve" or not options:
        return
    [handed_on] = shlex.split(options)
    done = subprocess.run(
        [sys.executable, "-m", "server", *shlex.split(handed_on), "--print-config"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


def test_every_expectation_belongs_to_a_block() -> None:
    for mark in TOLD:
        assert any(mark in text for _, text in BLOCKS), mark
