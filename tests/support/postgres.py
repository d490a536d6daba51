"""A real PostgreSQL for the tests, in a folder of its own, by the programs of Debian's package."""

import os
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from tests.support.running_server import free_port

PASSWORD = "a-password-nobody-may-see"
DEBIAN = Path("/usr/lib/postgresql")
"""Where Debian's package puts each version."""

_USER = "loralloy"
_START_S = 60


@dataclass(frozen=True)
class Postgres:
    """A server that answers on the loopback, by password alone."""

    port: int

    def url(self, database: str) -> str:
        """The URL of a database, as the server takes it."""
        return f"postgresql+psycopg://{_USER}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        """A connection that commits each statement."""
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user=_USER,
            password=PASSWORD,
            dbname=database,
            autocommit=True,
        )

    def new_database(self) -> str:
        """Make an empty database; returns its URL."""
        name = f"test_{uuid.uuid4().hex}"
        with self.connect() as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def wait_until_left(self, url: str) -> None:
        """Wait until the server has noticed that a client was killed."""
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
        deadline = time.monotonic() + _START_S
        with self.connect() as connection:
            while connection.execute(query, [url.rpartition("/")[2]]).fetchone() != (0,):
                if time.monotonic() > deadline:
                    raise RuntimeError("somebody is still connected to the database")
                time.sleep(0.01)


def find_programs(debian_versions: Path = DEBIAN) -> Path | None:
    """The folder with initdb and postgres."""
    debian = sorted(debian_versions.glob("*/bin"), reverse=True)
    on_path = shutil.which("initdb")
    folders = [*([Path(on_path).parent] if on_path else []), *debian]
    return next((one for one in folders if (one / "postgres").exists()), None)


def unavailable(reason: str) -> None:
    """Leave the test out; in CI, where everything is installed, it fails instead."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Start one; it is gone when the block is left, with all its data."""
    programs = find_programs()
    if programs is None:
        unavailable("there is no PostgreSQL here: install Debian's package postgresql")
        return
    # PostgreSQL refuses to run as root, and pytest's own folders are closed to other users.
    user = "nobody" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="loralloy-postgres-"))
    (folder / "password").write_text(PASSWORD)
    if user is not None:
        for path in (folder, folder / "password"):
            shutil.chown(path, user)
    port = free_port()
    make = [str(programs / "initdb"), "--pgdata", str(folder / "data"), "--username", _USER]
    make += ["--pwfile", str(folder / "password"), "--auth", "scram-sha-256", "--no-sync"]
    make += ["--encoding", "UTF8", "--locale", "C"]
    serve = [str(programs / "postgres"), "-D", str(folder / "data"), "-p", str(port)]
    serve += ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={folder}"]
    # Nothing is to survive a power cut here, and many registries are open at once.
    serve += ["-c", "fsync=off", "-c", "max_connections=200"]
    try:
        subprocess.run(make, check=True, capture_output=True, user=user, cwd=folder)
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(serve, stdout=log, stderr=log, user=user, cwd=folder)
        try:
            yield _answering(Postgres(port), process, folder / "log")
        finally:
            process.send_signal(3)  # SIGQUIT: at once, whoever is connected
            process.wait(timeout=30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _answering(postgres: Postgres, process: subprocess.Popen[bytes], log: Path) -> Postgres:
    deadline = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            postgres.connect().close()
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return postgres
    process.kill()
    raise RuntimeError(f"PostgreSQL did not start:\n{log.read_text()[-2000:]}")
