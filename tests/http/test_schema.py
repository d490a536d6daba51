"""Requests made from the schema that the server tells (Schemathesis): good, odd and broken ones.

None may end in a 5xx, or in an answer that the schema does not describe. `make soak` sends more.
"""

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.support import running_server

CASES = int(os.environ.get("SCHEMA_CASES", "6"))
"""For each route."""

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


NAME = "of-the-schema"
KNOWN = {"name": NAME, "model": NAME}
"""What stands for something that is there."""

sometimes_known = st.sampled_from([{}, {}, KNOWN])


@pytest.fixture
def is_there(server) -> Callable[[], None]:
    """Sees to it that there is an adapter of that name."""

    def push() -> None:
        pushed = running_server.push(server, NAME, server.adapters["r8-a"])
        assert pushed.status_code in (200, 201), pushed.text

    return push


@pytest.fixture
def operations(server, is_there) -> Iterator[list[Any]]:
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    yield [found.ok() for found in schema.get_all_operations()]
    with server.client() as http:
        http.delete(f"/v1/adapters/{NAME}")
    assert server.alive()


def known_put_in(case, known: Mapping[str, str]) -> None:
    """Let a case name something that is there, where it names something."""
    for fields in (case.path_parameters, case.body):
        if isinstance(fields, dict):
            fields |= {name: known[name] for name in fields.keys() & known.keys()}


@pytest.mark.timeout(3600)
def test_every_route_answers_as_its_schema_says(operations, server, is_there, subtests) -> None:
    statuses: Counter[int] = Counter()
    for operation in operations:
        is_there()
        cases = st.one_of(*(operation.as_strategy(generation_mode=one) for one in GenerationMode))

        @settings(
            max_examples=CASES,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.generate],
        )
        @given(case=cases, known=sometimes_known)
        def answers_as_it_says(case, known) -> None:
            known_put_in(case, known)
            answer = case.call_and_validate(base_url=server.url, checks=CHECKS, timeout=120)
            statuses[answer.status_code] += 1

        with subtests.test(operation.label):
            answers_as_it_says()
    sys.stdout.write(f"{statuses.total()} cases: {sorted(statuses.items())}\n")
    assert {200, 400, 404} <= statuses.keys()
