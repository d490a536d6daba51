"""A process that is asked in JSON lines: both ends. Engines are measured in processes of their own.

The asking end is :class:`Child`, the answering end :func:`serve`.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

Answerer = Callable[[int, dict[str, Any]], Awaitable[dict[str, Any]]]
"""Gets the number of the command, from 0, and the command; gives the answer."""


class Child:
    """A Python module that runs in a process of its own and answers commands.

    Args:
        name: what it is called where something goes wrong.
        module: the module, run as ``python -m``.
        arguments: its arguments.
        folder: the checkout whose module it is; None: this one.
    """

    def __init__(
        self, name: str, module: str, arguments: Sequence[str], folder: Path | None = None
    ) -> None:
        self._name = name
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=folder,  # first on the path of `python -m`
        )

    def answer(self) -> dict[str, Any]:
        """The next JSON line that the process writes; others' output is skipped.

        Raises:
            RuntimeError: the process ended.
        """
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                answer: dict[str, Any] = json.loads(line)
                return answer
        raise RuntimeError(f"the engine {self._name!r} ended: its output above says why")

    def ask(self, command: dict[str, Any]) -> dict[str, Any]:
        """The answer to a command."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return self.answer()

    def stop(self) -> None:
        """End the process and its workers."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self._process.kill()


async def serve(name: str, answer: Answerer, stop: Callable[[], None]) -> None:
    """Say that all is ready, then answer commands until the input ends; never returns."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    answers.write(json.dumps({"ready": name}) + "\n")
    for serial in range(1_000_000):
        line = await asyncio.to_thread(sys.stdin.readline)
        if not line:
            stop()  # its workers would outlive this process
            os._exit(0)
        answers.write(json.dumps(await answer(serial, json.loads(line))) + "\n")
