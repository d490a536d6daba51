"""A body is read without looking up a name."""

import pytest

from server import errors
from server.generation.given_mixture import (
    MAX_MEMBERS,
    GivenMember,
    GivenMixture,
    read_mixture,
)
from server.generation.selection import SelectionFields, read_selection


@pytest.mark.parametrize(
    ("field", "raw", "expected"),
    [
        (
            "mixture",
            {"adapters": {"nobody": 0.5, "maths@12345678": 1}, "combination": "linear"},
            GivenMixture(
                (
                    GivenMember("nobody", 0.5, "mixture.adapters.nobody"),
                    GivenMember("maths@12345678", 1.0, "mixture.adapters.maths@12345678"),
                ),
                "linear",
                "mixture.adapters",
            ),
        ),
        (
            "lora",
            [{"id": "a"}, {"id": "b", "scale": 2}],
            GivenMixture(
                (GivenMember("a", 1.0, "lora[0].scale"), GivenMember("b", 2.0, "lora[1].scale")),
                "cat",
                "lora",
            ),
        ),
        (
            "adapter_id",
            "a",
            GivenMixture((GivenMember("a", 1.0, "adapter_id"),), "cat", "adapter_id"),
        ),
        (
            "merged_adapters",
            {"ids": ["a"], "weights": [0]},
            GivenMixture(
                (GivenMember("a", 0.0, "merged_adapters.weights[0]"),), "cat", "merged_adapters"
            ),
        ),
    ],
)
def test_every_form_becomes_names_weights_and_where_they_stood(field, raw, expected):
    assert read_mixture(field, raw) == expected


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({}, ()),
        ({"model": ""}, ()),
        ({"model": "m@1", "policy": "auto"}, ("m@1",)),
        ({"model": "m", "lora": [{"id": "a@1"}, {"id": "b"}]}, ("m", "a@1", "b")),
        ({"adapter_id": "a@1"}, ("a@1",)),
        ({"merged_adapters": {"ids": ["a@1"], "weights": [1]}}, ("a@1",)),
    ],
)
def test_every_name_that_may_be_an_adapters_is_listed(body, names):
    assert read_selection(body).names == names


def test_what_has_a_wrong_form_is_refused_before_anything_is_looked_up():
    assert read_selection({"model": "nobody"}) == SelectionFields("nobody")
    with pytest.raises(errors.InvalidWeight):
        read_selection({"model": "nobody", "mixture": {"adapters": {"a": -1}}})


MANY = {f"a{number}": 1.0 for number in range(MAX_MEMBERS + 1)}
TOO_MANY = {
    "mixture": {"adapters": MANY},
    "lora": [{"id": name, "scale": 1.0} for name in MANY],
    "lora of nothing": [0] * len(MANY),
    "merged_adapters": {"ids": list(MANY), "weights": list(MANY.values())},
    "merged_adapters of nothing": {"ids": [0] * len(MANY), "weights": None},
}


@pytest.mark.parametrize("name", TOO_MANY)
def test_too_many_names_are_refused_before_any_is_looked_at(name):
    with pytest.raises(errors.MixtureTooLarge, match=f"names {len(MANY)} adapters") as refused:
        read_mixture(name.partition(" ")[0], TOO_MANY[name])
    assert refused.value.param.split(".")[0] == name.partition(" ")[0]


def test_as_many_as_are_allowed_are_read():
    few = dict(list(MANY.items())[:MAX_MEMBERS])
    assert len(read_mixture("mixture", {"adapters": few}).members) == MAX_MEMBERS


def test_a_long_name_makes_no_long_message():
    with pytest.raises(errors.InvalidWeight) as refused:
        read_mixture("mixture", {"adapters": {"a" * 10**6: "x"}})
    assert len(str(refused.value)) + len(refused.value.param) < 1000
