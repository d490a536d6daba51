"""A machine without a C++ compiler: plain torch in place of the kernel, and just as exact."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.test_exactness import assert_equal
from tests.support import running_server
from tests.support.generation import Ask, generate
from tests.support.reference import Reference
from tests.support.running_server import RunningServer
from tests.support.tiny_llama import BASE_NAME

PUSHED = ("r8-a", "r8-b", "r32")


@pytest.fixture(scope="module")
def bare(
    tiny_base: Path,
    tiny_adapters: dict[str, Path],
    encoder_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RunningServer]:
    server = running_server.start(
        tmp_path_factory.mktemp("bare"),
        tiny_base,
        BASE_NAME,
        arguments=("--dtype", "float32", "--max-loras", "4", "--max-model-len", "512"),
        environment={"CXX": "no-such-compiler"},
    )
    try:
        for name in PUSHED:
            assert running_server.push(server, name, tiny_adapters[name]).status_code == 201
        yield dataclasses.replace(server, adapters=tiny_adapters)
    finally:
        running_server.stop(server)


def test_mixtures_are_exact_with_log_probabilities(bare: RunningServer) -> None:
    assert "no C++ compiler found" in bare.log.read_text()
    reference = Reference(bare.base_folder, bare.adapters)
    wanted = [
        ({"r8-a": 0.6, "r32": 0.4}, "cat"),
        ({"r8-a": 0.6, "r8-b": 0.4}, "linear"),
        ({}, "cat"),
    ]
    asks = [
        Ask(
            tuple(range(40 + shift, 70 + shift)),
            {"mixture": {"adapters": weights, "combination": rule}} if weights else {},
        )
        for shift, (weights, rule) in enumerate(wanted)
    ]
    for asked, got, (weights, rule) in zip(asks, generate(bare, asks), wanted, strict=True):
        assert_equal(reference, got, asked, weights, rule)
    assert bare.alive()
