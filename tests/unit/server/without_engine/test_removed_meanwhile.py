"""A removal between two looks: only who named the adapter hears of it.

It happens exactly there: what looks next is held until the removal has begun, or has ended.
"""

import asyncio
import inspect

import pytest

from router.policies.config import parse_policy
from server.generation import middleware
from server.generation.removed_meanwhile import FREE_TRIES
from tests.support.bare_server import BareServer

POLICIES = {
    "auto": {"kind": "softmax", "temperature": 0.05},
    "tle": {"kind": "tle", "window": "head"},
    "nearest": {"kind": "nearest"},
    "even": {"kind": "uniform"},
    "linear": {"kind": "uniform", "combination": "linear"},
    "falls": {"kind": "softmax", "threshold": 1.0, "fallback": "going"},
    "merged": {"kind": "fixed", "weights": {"going": 0.5, "staying": 0.5}},
}
FROM_FILE = {name: parse_policy(name, raw) for name, raw in POLICIES.items()}
CHOSEN = ("auto", "tle", "nearest", "even", "linear")
NAMES_IT_ITSELF = ("falls", "merged")
PLACES = {
    "before the names are read": lambda parts: (middleware, "select"),
    "before the index is read": lambda parts: (middleware, "route"),
    "in the router": lambda parts: (parts.catalogue.router, "route"),
    "before the combination is checked": lambda parts: (parts.catalogue, "check_combination"),
    "before its presence is checked": lambda parts: (parts.catalogue, "check_present"),
    "before it is leased": lambda parts: (parts.residency, "acquire"),
    "while it waits for a slot": lambda parts: (parts.residency, "_serve"),
    "while it is loaded": lambda parts: (parts.residency._loader, "load"),
}
ON_THE_WAY_INTO_A_SLOT = ("while it waits for a slot", "while it is loaded")
TEXT = "one two three"

every_place = pytest.mark.parametrize("place", PLACES)


@pytest.fixture
def server(start, tiny_adapters) -> BareServer:
    """Two adapters, of which every policy that looks at the text prefers the one that goes."""
    server = start(from_file=FROM_FILE, slots=2)
    server.push("going", tiny_adapters["r8-a"], description=TEXT)
    server.push("staying", tiny_adapters["r8-b"], description="a recipe for the kitchen")
    return server


class Latch:
    """Does something when a function is called for the first time, and lets it go on then.

    Attributes:
        calls: how often the function was called.
    """

    def __init__(self, server: BareServer, monkeypatch, owner, name: str, do) -> None:
        self.calls = 0
        self._do = do
        self._loop = server.http.portal.call(_running_loop)
        self._real = getattr(owner, name)
        held = self._held if inspect.iscoroutinefunction(self._real) else self._held_in_thread
        monkeypatch.setattr(owner, name, held)

    async def _held(self, *args, **kwargs):
        self.calls += 1
        if self.calls == 1:
            await self._do()
        return await self._real(*args, **kwargs)

    def _held_in_thread(self, *args, **kwargs):
        self.calls += 1
        if self.calls == 1:
            asyncio.run_coroutine_threadsafe(self._do(), self._loop).result(20)
        return self._real(*args, **kwargs)


async def _running_loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


def latch(server: BareServer, monkeypatch, place: str, do) -> Latch:
    """Let something happen at a place on the way of the next request."""
    if place in ON_THE_WAY_INTO_A_SLOT:
        for digest in server.parts.residency.resident:
            server.http.portal.call(server.parts.residency._unload, digest)
    return Latch(server, monkeypatch, *PLACES[place](server.parts), do)


def removal(server: BareServer, place: str = "", *, ended: bool = True):
    """Removes the adapter, and waits for the end of that, or until it is lent to nobody."""
    residency = server.parts.residency
    goes_on = place in ON_THE_WAY_INTO_A_SLOT

    async def remove() -> None:
        digest = server.parts.catalogue.names.adapters["going"].digest
        held = [] if ended or goes_on else [digest]
        await residency.acquire(held)
        begun = await server.parts.catalogue.remove("going")
        if ended and not goes_on:
            await begun.task
        while not (residency.refuses(digest) or begun.task.done()):  # noqa: ASYNC110 - from outside
            await asyncio.sleep(0)
        residency.release(held)

    return remove


def asked(server: BareServer, **body):
    return server.http.post("/v1/completions", json={"prompt": TEXT, **body})


def names_reached(answer) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [name for name, _, _ in answer.json()["reached"]]


@every_place
@pytest.mark.parametrize("ended", [True, False])
@pytest.mark.parametrize("policy", CHOSEN)
def test_a_policy_decides_anew(server, monkeypatch, policy, ended, place):
    held = latch(server, monkeypatch, place, removal(server, place, ended=ended))
    assert names_reached(asked(server, model=policy)) == ["staying"]
    assert held.calls, "the request has passed the place"
    assert server.parts.residency.leases == 0


@every_place
@pytest.mark.parametrize("policy", NAMES_IT_ITSELF)
def test_a_policy_that_names_the_adapter_is_as_after_the_removal(
    server, monkeypatch, policy, place
):
    held = latch(server, monkeypatch, place, removal(server, place))
    during = asked(server, model=policy, prompt="a sailing boat")
    assert held.calls
    assert (during.status_code, during.json()["error"]["code"]) == (
        400,
        "unknown_adapter_in_policy",
    )
    assert asked(server, model=policy, prompt="a sailing boat").json() == during.json()
    assert server.parts.residency.leases == 0


def named_in(form: str, digest: str) -> dict[str, object]:
    return {
        "model": {"model": "going"},
        "version": {"model": f"going@{digest}"},
        "mixture": {"mixture": {"adapters": {"going": 0.5, "staying": 0.5}}},
        "lora": {"lora": [{"id": "staying", "scale": 0.5}, {"id": "going", "scale": 0.5}]},
        "adapter_id": {"adapter_id": "going"},
        "merged": {
            "merged_adapters": {
                "ids": ["going", "staying"],
                "weights": [0.5, 0.5],
                "merge_strategy": "linear",
            }
        },
    }[form]


@every_place
@pytest.mark.parametrize("form", ["model", "version", "mixture", "lora", "adapter_id", "merged"])
def test_who_named_the_adapter_hears_of_it(server, monkeypatch, form, place):
    digest = server.http.get("/v1/adapters/going").json()["digest"]
    held = latch(server, monkeypatch, place, removal(server, place))
    answer = asked(server, **named_in(form, digest[:12]))
    if place != "in the router":  # what is named is not routed
        assert held.calls
        assert answer.status_code == 404, answer.text
        assert answer.json()["error"]["code"] in {"adapter_removing", "model_not_found"}
    assert server.parts.residency.leases == 0


@every_place
def test_an_adapter_that_comes_back_serves_the_next_try(server, monkeypatch, tiny_adapters, place):
    """As happens where a job pushes an adapter again and again."""

    async def replaced() -> None:
        await removal(server)()
        await server.parts.catalogue.add("going", tiny_adapters["r16"], None)

    if place in ON_THE_WAY_INTO_A_SLOT:
        pytest.skip("a removal cannot end while its adapter is on its way into a slot")
    held = latch(server, monkeypatch, place, replaced)
    assert set(names_reached(asked(server, model="merged"))) == {"going", "staying"}
    assert held.calls
    (digest,) = {d for name, d, _ in asked(server, model="going").json()["reached"]}
    assert digest == server.http.get("/v1/adapters/going").json()["digest"]


def test_what_keeps_going_is_done_without(server, monkeypatch):
    """Its name stands for it all the time, and its content is never lent."""
    digest = server.http.get("/v1/adapters/going").json()["digest"]
    portal, residency = server.http.portal, server.parts.residency
    tries = Latch(server, monkeypatch, residency, "acquire", _nothing)
    portal.call(residency.set_names, {})
    with portal.wrap_async_context_manager(residency.removing(digest)):
        for policy in ("auto", "tle", "nearest", "even"):
            before = tries.calls
            assert names_reached(asked(server, model=policy)) == ["staying"]
            assert tries.calls - before == FREE_TRIES + 1
        assert asked(server, model="going").status_code == 404
    assert residency.leases == 0


def test_where_every_choice_goes_the_base_model_answers(server):
    portal, residency = server.http.portal, server.parts.residency
    portal.call(residency.set_names, {})
    digests = [server.http.get(f"/v1/adapters/{n}").json()["digest"] for n in ("going", "staying")]
    with (
        portal.wrap_async_context_manager(residency.removing(digests[0])),
        portal.wrap_async_context_manager(residency.removing(digests[1])),
    ):
        answer = asked(server, model="nearest")
    assert names_reached(answer) == [], "no adapter is left to choose"


async def _nothing() -> None:
    pass


def test_the_dry_run_decides_anew_too(server, monkeypatch):
    held = Latch(server, monkeypatch, server.parts.catalogue, "check_combination", removal(server))
    answer = server.http.post("/v1/route", json={"input": TEXT, "policy": "linear"})
    assert answer.status_code == 200, answer.text
    assert [member["name"] for member in answer.json()["members"]] == ["staying"]
    assert held.calls > 1


def test_a_merge_whose_adapter_is_lent_to_nobody_is_refused(server):
    """As if it came and went each time that it is looked at."""
    digest = server.http.get("/v1/adapters/going").json()["digest"]
    portal, residency = server.http.portal, server.parts.residency
    portal.call(residency.set_names, {})
    with portal.wrap_async_context_manager(residency.removing(digest)):
        answer = asked(server, model="merged")
    assert (answer.status_code, answer.json()["error"]["code"]) == (
        400,
        "unknown_adapter_in_policy",
    )
