"""Adapters that come and go under load, on a server that is killed: `make soak` does it longer."""

import asyncio
from pathlib import Path

import pytest

from tests.soak.chaos import Chaos

LEAST = {"killed": 1} | dict.fromkeys(
    ("add", "replace", "describe", "remove", "ask", "ask_pinned", "ask_mixture", "leave"), 3
)
"""By what was done, not by time: on a slow machine little is done between two kills."""


@pytest.mark.timeout(1200)  # a slow machine takes a minute a start
def test_nothing_acknowledged_is_lost_and_no_answer_is_wrong(tmp_path: Path) -> None:
    chaos = Chaos(tmp_path, seed=1)
    done = chaos.world.done
    asyncio.run(chaos.run(lambda: all(done[kind] >= n for kind, n in LEAST.items()), kill_every=30))
    assert done["killed"] > LEAST["killed"], "once more at the end"
