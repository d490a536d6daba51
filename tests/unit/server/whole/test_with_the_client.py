"""The Python client on a server without an engine: what it sends is what the server takes."""

import pytest

from loralloy_client import Loralloy
from loralloy_client.errors import (
    PolicyNameTaken,
    PolicyNotRemovable,
    PolicyVersionConflict,
    UnknownPolicy,
)
from loralloy_client.request_errors import InvalidPolicy
from tests.support.bare_server import ADMIN

BLEND = {"kind": "softmax", "temperature": 0.2}


@pytest.fixture
def client(server) -> Loralloy:
    return Loralloy("http://testserver", ADMIN, http=server.http)


def test_policies_are_put_and_removed(client):
    first = client.policies.put("blend", BLEND)
    assert (first.id, first.source, first.temperature) == ("blend", "api", 0.2)
    second = client.policies.put("blend", {**BLEND, "top_k": 1}, expected=first.version)
    with pytest.raises(PolicyVersionConflict):
        client.policies.put("blend", BLEND, expected=first.version)
    versions = client.policies.versions("blend")
    assert [one.version for one in versions] == [second.version, first.version]
    assert versions[1].options == BLEND
    with pytest.raises(PolicyVersionConflict):
        client.policies.remove("blend", expected=first.version)
    assert client.policies.remove("blend", expected=second.version).file_version is None
    with pytest.raises(UnknownPolicy):
        client.policies.get("blend")


def test_policies_that_cannot_be_put_or_removed(client):
    with pytest.raises(InvalidPolicy) as refused:
        client.policies.put("blend", {**BLEND, "candidates": {"include": []}})
    assert refused.value.param == "candidates.include"
    with pytest.raises(PolicyNameTaken):
        client.policies.put("tiny-llama", BLEND)
    with pytest.raises(PolicyNotRemovable):
        client.policies.remove("auto")
