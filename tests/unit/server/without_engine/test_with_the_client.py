"""The Python client on a server without an engine: what it sends is what the server takes."""

import pytest

from loralloy_client import Loralloy
from loralloy_client.errors import (
    InvalidPolicy,
    InvalidRouting,
    PolicyNameTaken,
    PolicyNotRemovable,
    PolicyVersionConflict,
    UnknownPolicy,
    VersionConflict,
    VersionNotFound,
)
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


def test_adapters_are_replaced_and_gone_back_to(client, tiny_adapters):
    first = client.adapters.push("mine", tiny_adapters["r8-a"], description="sums")
    second = client.adapters.replace("mine", tiny_adapters["r16"], expected=first.digest)
    assert (second.version, second.rank, second.routing.description) == (2, 16, "sums")
    with pytest.raises(VersionConflict):
        client.adapters.replace("mine", tiny_adapters["r8-b"], expected=first.digest)
    with pytest.raises(VersionConflict):
        client.adapters.restore("mine", first.digest, expected=first.digest)
    back = client.adapters.restore("mine", first.digest[:8], expected=second.digest)
    assert (back.version, back.digest) == (3, first.digest)
    versions = [(one.number, one.digest) for one in client.adapters.versions("mine")]
    assert versions == [(3, first.digest), (2, second.digest), (1, first.digest)]
    with pytest.raises(VersionNotFound):
        client.adapters.restore("mine", "0" * 64)


def test_an_adapter_is_described(client, tiny_adapters, tmp_path):
    pushed = client.adapters.push("mine", tiny_adapters["r8-a"])
    assert not pushed.routing.has_centroid
    file = tmp_path / "sea.txt"
    file.write_text("hoist the sails\nsteer the ship\n")
    told = client.adapters.describe("mine", examples=file, expected=pushed.digest)
    assert (told.routing.first_examples, told.version) == (["hoist the sails", "steer the ship"], 1)
    told = client.adapters.describe("mine", examples=["trim the sails"], description="the sea")
    assert (told.routing.examples, told.routing.description) == (1, "the sea")
    assert client.adapters.describe("mine", examples=None).routing.examples == 0
    with pytest.raises(InvalidRouting) as refused:
        client.adapters.describe("mine", description="x" * 30_000)
    assert refused.value.param == "description"
    with pytest.raises(VersionConflict):
        client.adapters.describe("mine", description="x", expected="0" * 64)
