"""A real server in its own process, on a free port of the loopback, for the tests to talk to."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx

START_S = 400
"""Longest a start may take: on a busy two-core machine a first start compiles for minutes."""


@dataclass(frozen=True)
class RunningServer:
    """A server that is ready.

    Attributes:
        url: its address, without a trailing slash.
        base: name of the base model.
        adapters: names of the adapters that were pushed to it → their folders.
        base_folder: folder of the base model.
        log: everything it has printed.
    """

    url: str
    base: str
    base_folder: Path
    adapters: Mapping[str, Path]
    process: subprocess.Popen[bytes]
    log: Path
    api_key: str | None = None

    def client(self, **options: Any) -> httpx.Client:
        """An HTTP client for it."""
        headers = {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        headers |= options.pop("headers", {})
        return httpx.Client(base_url=self.url, timeout=120, headers=headers, **options)

    def alive(self) -> bool:
        """Whether it still answers as healthy."""
        if self.process.poll() is not None:
            return False
        return httpx.get(f"{self.url}/ready", timeout=30).status_code == 200


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(
    folder: Path,
    base: Path,
    base_name: str,
    *,
    arguments: tuple[str, ...] = (),
    environment: Mapping[str, str] | None = None,
    api_key: str | None = None,
) -> RunningServer:
    """Start a server on ``base`` with its data in ``folder``; returns when it is ready."""
    port = free_port()
    log = folder / "server.log"
    folder.mkdir(parents=True, exist_ok=True)
    command = [
        *(sys.executable, "-m", "server", "--port", str(port)),
        *("--model", str(base), "--served-model-name", base_name, "--no-demo-adapters"),
        *("--data-dir", str(folder / "data"), *arguments),
    ]
    if api_key:
        command += ["--api-key", api_key]
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("LORALLOY_ENGINE", "VLLM_"))}
    clean["LORALLOY_ENGINE__COMPILE"] = "start"  # no compiler beside the tests
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env={**clean, **(environment or {})}
        )
    url = f"http://127.0.0.1:{port}"
    running = RunningServer(url, base_name, base, {}, process, log, api_key)
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended at once:\n{log.read_text()[-4000:]}")
        try:
            if running.alive():
                return running
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    stop(running)
    raise RuntimeError(f"the server was not ready in {START_S} s:\n{log.read_text()[-4000:]}")


def stop(server: RunningServer) -> None:
    """Stop it as Ctrl-C does, and wait."""
    server.process.send_signal(2)
    try:
        server.process.wait(timeout=60)
    except subprocess.TimeoutExpired:
        server.process.kill()
        server.process.wait()


@contextmanager
def running(
    folder: Path,
    base: Path,
    base_name: str,
    adapters: Mapping[str, Path],
    *,
    descriptions: Mapping[str, str] | None = None,
    api_key: str | None = None,
    **options: Any,
) -> Iterator[RunningServer]:
    """A server for the length of the block, with these adapters pushed to it.

    Args:
        folder: where its data are.
        base: folder of the base model.
        base_name: its name.
        adapters: name → folder.
        descriptions: name → what the router may know of it.
        api_key: what the adapters are pushed with, where the server has keys.
        options: as for :func:`start`.
    """
    started = start(folder, base, base_name, **options)
    try:
        holder = replace(started, adapters=adapters, api_key=api_key)
        for name, files in adapters.items():
            fields = {"description": descriptions[name]} if descriptions else {}
            answer = push(holder, name, files, **fields)
            assert answer.status_code == 201, answer.text
        yield holder
    finally:
        stop(started)


def adapter_files(folder: Path) -> dict[str, tuple[str, bytes]]:
    """The two files of an adapter as parts of a form."""
    parts = {"config": "adapter_config.json", "file": "adapter_model.safetensors"}
    return {part: (name, (folder / name).read_bytes()) for part, name in parts.items()}


def push(server: RunningServer, name: str, folder: Path, **fields: str) -> httpx.Response:
    """Upload an adapter's two files."""
    with server.client() as client:
        return client.post(
            "/v1/adapters",
            data={"name": name, **fields},
            files=adapter_files(folder),
        )
