"""The guard over a bare app: limits on the wire, and places that are always given back."""

import asyncio
import json
from typing import Any

import pytest
from starlette.routing import Route

from server.access.authentication import Callers
from server.access.keys import Quota
from server.access.limits import Limiter
from server.edge.guard import Guard
from server.edge.settings import LimitSettings
from tests.support.access import callers_of

ROUTE = Route("/v1/completions", lambda request: None, methods=["POST"])


class App:
    """Answers when it is let, and ends as it is told."""

    def __init__(self, failure: BaseException | None = None) -> None:
        self.may_end = asyncio.Event()
        self.failure = failure
        self.begun = 0
        self.callers: list[str] = []

    async def __call__(self, scope, receive, send) -> None:
        self.begun += 1
        self.callers.append(scope["state"]["caller"].id)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await self.may_end.wait()
        if self.failure is not None:
            raise self.failure
        await send({"type": "http.response.body", "body": b"b", "more_body": False})


def guard_of(app: App, quota: Quota, callers: Callers | None = None) -> tuple[Guard, Limiter]:
    limiter = Limiter()
    callers = callers or callers_of("one", "two", quota=quota)
    return Guard(app, callers, limiter, LimitSettings(), lambda: [ROUTE]), limiter


async def ask(guard: Guard, key: str = "one", length: int = 0) -> tuple[int, dict, dict]:
    """Status, headers and body of one request."""
    headers = [(b"authorization", f"Bearer {key}".encode()), (b"content-length", b"%d" % length)]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/completions",
        "root_path": "",
        "headers": headers,
    }
    sent: list[dict[str, Any]] = []

    async def receive():
        await asyncio.Event().wait()

    async def send(message) -> None:
        sent.append(message)

    await guard(scope, receive, send)
    told = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
    body = b"".join(one.get("body", b"") for one in sent[1:])
    return sent[0]["status"], told, json.loads(body) if body.startswith(b"{") else {}


async def begin(guard: Guard, key: str = "one") -> asyncio.Task:
    task = asyncio.create_task(ask(guard, key))
    for _ in range(20):
        await asyncio.sleep(0)
    return task


def test_requests_beyond_the_rate_get_429_and_when_to_come_back():
    async def run() -> None:
        app = App()
        app.may_end.set()
        guard, limiter = guard_of(app, Quota(requests_per_minute=2))
        assert [(await ask(guard))[0] for _ in range(2)] == [200, 200]
        status, headers, body = await ask(guard)
        error = body["error"]
        assert (status, error["code"]) == (429, "rate_limited")
        assert (error["type"], set(error)) == (
            "rate_limit_error",
            {"message", "type", "param", "code"},
        )
        assert headers["retry-after"] == "30"
        assert "x-request-id" in headers
        assert (await ask(guard, "two"))[0] == 200, "another key has a rate of its own"
        assert (app.begun, limiter.refused) == (3, 1)

    asyncio.run(run())


def test_refused_keys_and_wrong_ones_count_for_nobody():
    async def run() -> None:
        app = App()
        app.may_end.set()
        guard, limiter = guard_of(app, Quota(requests_per_minute=1))
        assert [(await ask(guard, "wrong"))[0] for _ in range(5)] == [401] * 5
        assert (await ask(guard))[0] == 200
        assert limiter.running == 0

    asyncio.run(run())


def test_as_many_run_as_may_and_the_next_one_is_told():
    async def run() -> None:
        app = App()
        guard, limiter = guard_of(app, Quota(max_concurrent=2))
        running = [await begin(guard), await begin(guard)]
        status, headers, body = await ask(guard)
        assert (status, body["error"]["code"]) == (429, "too_many_concurrent")
        assert headers["retry-after"] == "1"
        other = await begin(guard, "two")
        assert (app.begun, limiter.running) == (3, 3)
        app.may_end.set()
        assert {task.result()[0] for task in (await asyncio.wait([*running, other]))[0]} == {200}
        assert limiter.running == 0
        assert (await ask(guard))[0] == 200

    asyncio.run(run())


@pytest.mark.parametrize("failure", [ValueError("bug"), OSError("gone"), asyncio.CancelledError()])
def test_a_place_comes_back_when_the_app_fails(failure):
    async def run() -> None:
        app = App(failure)
        guard, limiter = guard_of(app, Quota(max_concurrent=1))
        task = await begin(guard)
        assert limiter.running == 1
        app.may_end.set()
        with pytest.raises(type(failure)):
            await task
        assert limiter.running == 0

    asyncio.run(run())


def test_a_place_comes_back_when_the_request_is_cancelled():
    async def run() -> None:
        app = App()
        guard, limiter = guard_of(app, Quota(max_concurrent=1))
        task = await begin(guard)
        task.cancel()
        await asyncio.wait([task])
        assert limiter.running == 0
        app.may_end.set()
        assert (await ask(guard))[0] == 200

    asyncio.run(run())


def test_a_place_comes_back_when_the_body_is_too_large():
    async def run() -> None:
        app = App()
        guard, limiter = guard_of(app, Quota(max_concurrent=1))
        assert (await ask(guard, length=2**40))[0] == 413
        assert (app.begun, limiter.running) == (0, 0)

    asyncio.run(run())


def test_without_keys_the_defaults_hold_for_everybody_together():
    async def run() -> None:
        app = App()
        app.may_end.set()
        guard, _ = guard_of(app, Quota(), callers_of(quota=Quota(requests_per_minute=1)))
        assert [(await ask(guard))[0] for _ in range(2)] == [200, 429]
        assert app.callers == [""]

    asyncio.run(run())
