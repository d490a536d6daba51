"""A process that stores an adapter, then replaces it, and is killed on the way.

    python -m tests.support.dying_upload

Reads jobs from standard input, one JSON a line: ``locations``, ``base``, ``folders``,
``acknowledged`` and ``step``. Each is done by a fork, which sends itself SIGKILL before the step of
that number: a file operation, a commit, a change in the object store, or a statement to SQLite.
What the registry has acknowledged is written to the file ``acknowledged``. Answers with the signal
that ended the fork, and how many steps it made.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import botocore.session
from botocore.loaders import create_loader
from s3fs import S3FileSystem
from sqlalchemy import Engine, event

from adapters.limits import Limits
from adapters.registry.registry import AdapterRegistry
from adapters.registry.storage import Locations, open_storage
from adapters.validation.base_model import read_base_model


def main() -> None:
    """Do jobs until there are no more."""
    # The description of S3's interface is read once, not by each fork.
    described = create_loader()
    described.load_service_model("s3", "service-2")
    botocore.session.create_loader = lambda *arguments: described
    for line in sys.stdin:
        job = json.loads(line)
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(writer, str(_upload(job)).encode())
            os._exit(0)
        os.close(writer)
        _, status = os.waitpid(child, 0)
        steps = os.read(reader, 99)
        os.close(reader)
        killed_by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        sys.stdout.write(json.dumps({"killed_by": killed_by, "steps": int(steps or 0)}) + "\n")
        sys.stdout.flush()


def _upload(job: dict[str, Any]) -> int:
    locations = Locations(**{**job["locations"], "root": Path(job["locations"]["root"])})
    base = read_base_model(Path(job["base"]), "tiny-llama")
    registry = AdapterRegistry(locations.root, base, Limits(), storage=open_storage(locations))
    # What PostgreSQL does between a statement and its commit is its own affair, and tested there.
    moments = ("commit",) if locations.database_url else ("before_cursor_execute", "commit")
    # A copy of what lies in S3 is checked at its next use, whatever of it was flushed.
    calls = ("rename",) if locations.store_url else ("fsync", "rename", "replace")
    steps = _count_steps(job["step"], moments, calls)
    with Path(job["acknowledged"]).open("w") as journal:
        for change, folder in zip((registry.add, registry.replace), job["folders"], strict=True):
            adapter, _ = change("sums", Path(folder))
            journal.write(adapter.digest + "\n")
            journal.flush()
    return steps.made


class _Steps:
    """Counts them, and dies before the one of a number."""

    def __init__(self, last: int) -> None:
        self.made = 0
        self._last = last

    def step(self, *arguments: Any, **options: Any) -> None:
        """One more."""
        self.made += 1
        if self.made == self._last:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """The same call as one step."""

        def call(*arguments: Any, **options: Any) -> Any:
            self.step()
            return original(*arguments, **options)

        return call


def _count_steps(last: int, moments: tuple[str, ...], calls: tuple[str, ...]) -> _Steps:
    """Die before the step of that number."""
    steps, request = _Steps(last), S3FileSystem._call_s3

    async def counted_request(self: S3FileSystem, method: str, *arguments: Any, **more: Any) -> Any:
        if not method.startswith(("get_", "head_", "list_")):
            steps.step()
        return await request(self, method, *arguments, **more)

    for moment in moments:
        event.listen(Engine, moment, steps.step)
    for name in calls:
        setattr(os, name, steps.counted(getattr(os, name)))
    S3FileSystem._call_s3 = counted_request
    return steps


if __name__ == "__main__":
    main()
