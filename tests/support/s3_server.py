"""A real S3 server for the tests: moto's, in a process of its own, spoken to over sockets."""

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.support.running_server import free_port

SECRET = "a-secret-key-nobody-may-see"
_START_S = 120


@dataclass(frozen=True)
class S3Server:
    """A server that answers on the loopback."""

    url: str
    process: subprocess.Popen[bytes]

    @property
    def options(self) -> Mapping[str, str]:
        """What fsspec needs to reach it."""
        return {"endpoint_url": self.url, "key": "loralloy", "secret": SECRET}

    @property
    def environment(self) -> Mapping[str, str]:
        """The same as AWS's environment variables."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "loralloy",
            "AWS_SECRET_ACCESS_KEY": SECRET,
        }

    def new_bucket(self) -> str:
        """Make an empty bucket; returns its name."""
        name = f"bucket-{uuid.uuid4().hex}"
        httpx.put(f"{self.url}/{name}").raise_for_status()
        return name

    def files(self) -> Any:
        """A file system on it, to look at what is there and to do damage."""
        from s3fs import S3FileSystem

        return S3FileSystem(**self.options, use_listings_cache=False, skip_instance_cache=True)


@contextmanager
def running_s3(folder: Path) -> Iterator[S3Server]:
    """Start one, with its log in a folder; it is gone when the block is left."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with (folder / "s3.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ})
    server = S3Server(f"http://127.0.0.1:{port}", process)
    try:
        deadline = time.monotonic() + _START_S
        while True:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"no S3 server:\n{(folder / 's3.log').read_text()[-2000:]}")
            try:
                httpx.get(f"{server.url}/moto-api/", timeout=5)
                break
            except httpx.TransportError:
                time.sleep(0.1)
        yield server
    finally:
        process.terminate()
        process.wait(timeout=30)
