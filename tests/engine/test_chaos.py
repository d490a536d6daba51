"""Adapters that come and go under load, on a server that is killed: `make soak` does it longer."""

import asyncio
from pathlib import Path

import pytest

from tests.soak.chaos import Chaos


@pytest.mark.timeout(600)
def test_nothing_acknowledged_is_lost_and_no_answer_is_wrong(tmp_path: Path) -> None:
    chaos = Chaos(tmp_path, seed=1)
    asyncio.run(chaos.run(seconds=40, kill_every=15))
    assert chaos.world.done["killed"] >= 2
    did = {"add", "replace", "describe", "remove", "ask", "ask_pinned", "ask_mixture", "leave"}
    assert {kind for kind in did if not chaos.world.done[kind]} == set()
