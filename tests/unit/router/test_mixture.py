import pytest

from router.mixture import BASE_MODEL, Member, Mixture


def test_members_stand_by_falling_weight_then_digest():
    mixture = Mixture.of([Member("a", "d2", 0.2), Member("b", "d1", 0.2), Member("c", "d0", 0.6)])
    assert [member.name for member in mixture.members] == ["c", "b", "a"]


def test_weights_are_rounded_and_those_that_vanish_go():
    mixture = Mixture.of([Member("a", "d", 0.3333336), Member("b", "e", 0.0000004)])
    assert mixture.weights == {"a": 0.333334}


@pytest.mark.parametrize("weight", [-0.1, float("nan"), float("inf")])
def test_bad_weights_are_refused(weight):
    with pytest.raises(ValueError, match="must be a number ≥ 0"):
        Mixture.of([Member("a", "d", weight)])


def test_an_adapter_named_twice_is_refused():
    with pytest.raises(ValueError, match="'a' is named twice"):
        Mixture.of([Member("a", "d", 0.5), Member("a", "d", 0.5)])


def test_no_members_is_the_base_model():
    assert BASE_MODEL.is_base
    assert Mixture.of([]) == BASE_MODEL
    assert not Mixture.of([Member("a", "d", 1.0)]).is_base
