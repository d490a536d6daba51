"""Compiling the base model in a process of its own, beside a server that serves it eagerly.

The server's end is :func:`compile_ahead`. The other end, ``python -m server.engine.compile_ahead``,
starts an engine as the next start will, which leaves the compiled code in the cache folder, and
ends. It takes only what processor time nobody else wants, and ends with the server: its standard
input is its lifeline.
"""

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from server.engine.engine import EmbeddedEngine
from server.engine.settings import EngineSettings

logger = logging.getLogger(__name__)


async def compile_ahead(settings: EngineSettings, model: Path, name: str, *, hub: bool) -> None:
    """Compile the base model for the next start; returns when that is done or has failed.

    Cancelling ends the process and everything it started.

    Args:
        settings: the engine's, as the next start will have them.
        model: the base model's folder, or its name on a hub.
        name: its name on the wire.
        hub: whether vLLM may ask a hub.
    """
    job = {
        "settings": settings.model_dump(mode="json"),
        "model": str(model),
        "name": name,
        "hub": hub,
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "server.engine.compile_ahead"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdin is not None
    try:
        process.stdin.write(json.dumps(job).encode() + b"\n")
        status = await process.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    if status == 0:
        logger.info("the base model is compiled: the next start is faster, and so are its answers")
    else:
        logger.warning(
            "the base model could not be compiled beside this server (status %d); "
            "LORALLOY_ENGINE__COMPILE=start compiles it before serving, and says what goes wrong",
            status,
        )


def main() -> None:
    """Do the job that the first line of the standard input describes; ends with that input."""
    if hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_input, daemon=True).start()
    asyncio.run(_compile(job))


def _end_with_input() -> None:
    sys.stdin.read()
    os.killpg(0, signal.SIGKILL)


async def _compile(job: Mapping[str, Any]) -> None:
    settings = EngineSettings.model_validate(job["settings"] | {"compile": "start"})
    engine = await EmbeddedEngine.start(settings, Path(job["model"]), job["name"], hub=job["hub"])
    await engine.shutdown()


if __name__ == "__main__":
    main()
