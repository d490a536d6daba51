"""What requests share, and what they must never share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.test_token_scope import same
from tests.support.generation import Ask, Generated, generate
from tests.support.running_server import RunningServer, push
from tests.support.tiny_llama import make_adapter

BLOCK = 128
"""Tokens in a block of keys and values: only whole blocks are shared."""


def prompt(seed: int) -> tuple[int, ...]:
    """Two whole blocks and a bit, unlike every other seed's from the first token on."""
    return tuple(30 + (seed * 131 + 17 * position) % 900 for position in range(2 * BLOCK + 20))


def cached(server: RunningServer, body: dict, seed: int) -> int:
    return generate(server, [Ask(prompt(seed), body, max_tokens=1)])[0].cached


def mixture(**weights: float) -> dict:
    return {"mixture": {"adapters": {name.replace("_", "-"): w for name, w in weights.items()}}}


def test_equal_mixtures_share_their_prefix(server: RunningServer) -> None:
    assert cached(server, mixture(r8_a=0.6, r8_b=0.4), 1) == 0
    assert cached(server, mixture(r8_a=0.6, r8_b=0.4), 1) == 2 * BLOCK
    assert cached(server, mixture(r8_b=0.4, r8_a=0.6), 1) == 2 * BLOCK, "order means nothing"
    assert cached(server, mixture(r8_a=0.6000001, r8_b=0.4), 1) == 2 * BLOCK, (
        "nor the seventh decimal"
    )


def test_an_adapter_by_name_and_as_a_mixture_of_one_share(server: RunningServer) -> None:
    assert cached(server, {"model": "r8-a"}, 2) == 0
    assert cached(server, mixture(r8_a=1.0), 2) == 2 * BLOCK


def test_different_mixtures_never_share(server: RunningServer) -> None:
    bodies = [
        {},
        mixture(r8_a=0.6, r8_b=0.4),
        mixture(r8_a=0.4, r8_b=0.6),
        mixture(r8_a=0.6, r8_c=0.4),
        mixture(r8_a=0.6),
        {"mixture": {"adapters": {"r8-a": 0.6, "r8-b": 0.4}, "combination": "linear"}},
        {"model": "r8-a"},
    ]
    for body in bodies:
        assert cached(server, body, 3) == 0, body
    for body in bodies:
        assert cached(server, body, 3) == 2 * BLOCK, body


def test_versions_of_an_adapter_never_share(server: RunningServer) -> None:
    assert push(server, "versioned", server.adapters["r8-a"], description="v").status_code == 201
    first = generate(server, [Ask(prompt(4), {"model": "versioned"})])[0]
    with server.client() as client:
        assert client.delete("/v1/adapters/versioned").status_code in (200, 204)
    assert push(server, "versioned", server.adapters["r8-b"], description="v").status_code == 201
    try:
        second = generate(server, [Ask(prompt(4), {"model": "versioned"})])[0]
        assert second.cached == 0
        assert second.top[0] != first.top[0]
        fresh = generate(server, [Ask(prompt(4), {"model": "r8-b"})])[0]
        assert second.tokens == fresh.tokens
    finally:
        with server.client() as client:
            client.delete("/v1/adapters/versioned")


def test_user_salts_separate(server: RunningServer) -> None:
    assert cached(server, {"model": "r8-a", "cache_salt": "one"}, 5) == 0
    assert cached(server, {"model": "r8-a", "cache_salt": "two"}, 5) == 0
    assert cached(server, {"model": "r8-a"}, 5) == 0
    assert cached(server, {"model": "r8-a", "cache_salt": "one"}, 5) == 2 * BLOCK


def test_base_rows_are_untouched_by_the_batch(server: RunningServer) -> None:
    """The same batch shape, other adapters beside it: not one bit of the base row moves."""
    text = tuple(range(100, 140))
    others = [
        [{"model": "r8-a"}, {"model": "r8-b"}],
        [{"model": "r32"}, {"model": "attention-only"}],
        [mixture(r8_a=0.5, r16=0.5), mixture(r8_c=0.9, r8_d=0.1)],
        [{}, {}],
    ]
    seen = []
    for number, pair in enumerate(others):
        asks = [Ask(text, {"cache_salt": f"base-{number}"}, max_tokens=24)]
        asks += [Ask(text, {**body, "cache_salt": f"b{number}"}, max_tokens=24) for body in pair]
        seen.append(generate(server, asks)[0])
    for got in seen[1:]:
        assert got.tokens == seen[0].tokens
        assert got.top == seen[0].top


TEXT = tuple(range(100, 140))


@pytest.fixture
def crowd(server: RunningServer, tmp_path: Path) -> Iterator[list[str]]:
    """The server's adapters and some of its own, of all ranks: more than the engine has slots."""
    own = []
    try:
        for seed, rank in enumerate((4, 32, 16, 8, 24, 1), start=100):
            name = f"crowd-{rank}"
            folder = make_adapter(server.base_folder, tmp_path / name, seed, r=rank)
            assert push(server, name, folder, description=name).status_code == 201
            own.append(name)
        yield [*server.adapters, *own]
    finally:
        with server.client() as client:
            for name in own:
                client.delete(f"/v1/adapters/{name}")
        for name in server.adapters:  # as they lay before
            use(server, name)


def use(server: RunningServer, name: str) -> None:
    """Have an adapter in a slot, in whichever is free or was used least of late."""
    generate(server, [Ask((1, 2, 3), {"model": name}, max_tokens=1)])


def residents(server: RunningServer) -> frozenset[str]:
    with server.client() as client:
        listed = client.get("/v1/adapters").json()["data"]
    return frozenset(one["id"] for one in listed if one["resident"])


def test_what_else_lies_in_the_slots_moves_no_bit(server: RunningServer, crowd: list[str]) -> None:
    """Base rows and an adapter's own, whatever other adapters are there, or were there before.

    Each time as many others as there are slots come first, so that the adapters asked for are
    loaded anew, into the slots of the first of them, which are other ones than the last time.
    """
    asked = {
        "base": {},
        "one": {"model": "r8-a"},
        "mixture": mixture(r8_a=0.6, r32=0.4),
    }
    others = [name for name in crowd if name not in ("r8-a", "r32")]
    slots = len(residents(server))
    assert slots < len(others), "some have to make room"
    beside: list[frozenset[str]] = []
    seen: list[dict[str, Generated]] = []
    for turn in range(4):
        for name in (others[3 * turn :] + others[: 3 * turn])[:slots]:
            use(server, name)
        beside.append(residents(server))
        assert not beside[-1] & {"r8-a", "r32"}
        # One after the other, so that every step has the same tokens each time.
        seen.append(
            {
                case: generate(server, [Ask(TEXT, {**body, "cache_salt": f"turn-{turn}"}, 24)])[0]
                for case, body in asked.items()
            }
        )
    assert len(set(beside)) == len(beside)
    for again in seen[1:]:
        for case in ("base", "one"):
            assert again[case].tokens == seen[0][case].tokens, case
            assert again[case].top == seen[0][case].top, case
        # The members' parts are added in the order of their slots: the last bits may differ.
        assert same(again["mixture"], seen[0]["mixture"])
    assert seen[0]["one"].top[0] != seen[0]["base"].top[0] != seen[0]["mixture"].top[0]
