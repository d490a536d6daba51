"""Routing data alone: what is given changes, the rest stays, and the router knows it at once."""

import pytest

from tests.support.access import made
from tests.support.bare_server import BareServer

SEA = ["hoist the sails of the boat", "steer the ship through the waves"]
SUMS = "arithmetic and word problems with numbers"


def patch(server: BareServer, told: object, name: str = "mine", **headers: str):
    return server.http.patch(f"/v1/adapters/{name}", json=told, headers=headers)


def routing(server: BareServer):
    return server.parts.catalogue.registry.get("mine").routing


def score(server: BareServer, text: str) -> float | None:
    told = server.http.post("/v1/route", json={"input": text, "policy": "auto"})
    return told.json()["scores"].get("mine")


@pytest.fixture
def mine(server, tiny_adapters):
    return server.push("mine", tiny_adapters["r8-a"], description=SUMS)


def test_examples_are_measured_and_routed_by_at_once(server, mine):
    before = score(server, SEA[0])
    answer = patch(server, {"examples": SEA})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["digest"], told["version"]) == (mine["digest"], 1), "no new version"
    assert answer.headers["etag"] == f'"{mine["digest"]}"'
    assert told["routing"]["description"] == SUMS
    assert (told["routing"]["examples"], told["routing"]["first_examples"]) == (2, SEA)
    assert score(server, SEA[0]) > before + 0.3
    assert len(server.http.get("/v1/adapters/mine/versions").json()["data"]) == 1


def test_a_form_says_the_same_as_json(server, mine):
    patch(server, {"examples": SEA, "description": "the sea"})
    by_json = routing(server)
    files = {"examples": ("sea.txt", "\n".join(SEA).encode())}
    data = {"description": "the sea"}
    patch(server, {"examples": ["something else"], "description": None})
    by_form = server.http.patch("/v1/adapters/mine", data=data, files=files)
    assert by_form.status_code == 200, by_form.text
    assert routing(server) == by_json


def test_a_description_counts_only_without_examples(server, mine):
    patch(server, {"examples": SEA})
    measured = routing(server).centroids
    patch(server, {"description": "football and other sports"})
    assert routing(server).centroids == measured
    assert routing(server).examples == tuple(SEA)
    patch(server, {"examples": []})
    assert routing(server).examples == ()
    assert score(server, "football and other sports") > 0.99
    patch(server, {"description": SUMS})
    assert score(server, SUMS) > 0.99


def test_given_centroids_win_and_texts_stay(server, mine):
    point = [1.0] + [0.0] * 383
    told = patch(server, {"centroids": [point]}).json()["routing"]
    assert routing(server).centroids == (tuple(point),)
    assert told["description"] == SUMS
    patch(server, {"centroids": None})
    assert score(server, SUMS) > 0.99, "measured anew from what there is"


def test_with_nothing_left_it_serves_by_name_alone(server, mine):
    told = patch(server, {"description": None}).json()["routing"]
    assert (told["description"], told["centroids"]) == (None, 0)
    assert score(server, SUMS) is None
    assert server.applied(model="mine")["reached"] == [["mine", mine["digest"], 1.0]]


def test_it_is_bound_to_what_its_author_saw(server, mine, tiny_adapters):
    server.replace("mine", tiny_adapters["r16"])
    late = patch(server, {"description": "x"}, **{"If-Match": f'"{mine["digest"]}"'})
    assert (late.status_code, late.json()["error"]["code"]) == (412, "adapter_version_conflict")
    assert routing(server).description == SUMS
    assert patch(server, {"description": "x"}, **{"If-Match": "*"}).status_code == 200


FAULTS = [
    ({}, "invalid_request", None),
    ({"name": "x"}, "invalid_request", "name"),
    ({"description": 7}, "adapter_routing_invalid", "description"),
    ({"description": "x" * 20_001}, "adapter_routing_invalid", "description"),
    ({"examples": [{"no": "text"}]}, "adapter_routing_invalid", "examples"),
    ({"examples": ["a"] * 10_001}, "adapter_routing_invalid", "examples"),
    ({"examples": ["  "]}, "adapter_routing_invalid", "examples"),
    ({"examples": {"a": 1}}, "adapter_routing_invalid", "examples"),
    ({"centroids": [["a"]]}, "adapter_routing_invalid", "centroids"),
    ({"centroids": [[0.0] * 384]}, "invalid_centroid", "centroids"),
    ({"centroids": [[1.0, 2.0]]}, "invalid_centroid", "centroids"),
    ({"centroids": "[[1.0]]"}, "adapter_routing_invalid", "centroids"),
    ({"encoder": "other"}, "adapter_routing_invalid", "encoder"),
    ({"centroids": [[1.0]], "centroid": [1.0]}, "adapter_routing_invalid", "centroid"),
]


@pytest.mark.parametrize(("told", "code", "field"), FAULTS, ids=lambda one: str(one)[:60])
def test_a_fault_names_its_field_and_changes_nothing(server, mine, told, code, field):
    before = routing(server)
    answer = patch(server, told)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, code, field)
    assert routing(server) == before


def test_centroids_of_another_encoder_need_texts(server, tiny_adapters):
    server.push("mine", tiny_adapters["r8-a"])
    answer = patch(server, {"centroids": [[1.0, 2.0]], "encoder": "another"})
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == ("centroid_mismatch", "centroids")


def test_who_may_and_what_is_logged(server, mine):
    user = server.holding(made(server.keys, "user")[0])
    server.parts.access.key_refresh.look()
    assert patch(server, {"description": "x"}, **user).status_code == 403
    assert patch(server, {"description": "x"}, name="nobody").status_code == 404
    patch(server, {"description": "x"})
    entry = server.http.get("/v1/audit").json()["data"][0]
    assert (entry["action"], entry["target"]) == ("adapter.describe", "mine")
    assert entry["detail"] == {"digest": mine["digest"], "version": 1, "fields": ["description"]}


def test_it_is_kept(start, tiny_adapters):
    first = start()
    first.push("mine", tiny_adapters["r8-a"])
    patch(first, {"examples": SEA})
    first.http.__exit__(None, None, None)
    again = start()
    assert routing(again).examples == tuple(SEA)
    assert score(again, SEA[0]) > 0.7
