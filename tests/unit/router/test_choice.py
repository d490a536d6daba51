"""What a policy may choose from, what it chooses, and the mixture that comes of it."""

import numpy as np
import pytest

from router.centroids.index import CentroidIndex, built
from router.choice import Choice, View, choose, choose_each, mixture_of
from router.errors import NoCandidates, NoCentroid, UnknownAdapterInPolicy
from router.mixture import Member, Mixture
from router.policies.config import parse_policy

NAMES = ("code", "maths", "science")
SCORES = np.array([0.1, 0.6, 0.3])


def policy(**raw):
    return parse_policy("mine", raw)


@pytest.fixture
def index() -> CentroidIndex:
    """Adapters along three axes, and one that nothing can score."""
    made = CentroidIndex()
    made.put_all((name, f"d-{name}", axis) for name, axis in zip(NAMES, np.eye(3), strict=True))
    made.put("mute", "d-mute", None)
    return made


@pytest.fixture
def view(index) -> View:
    return View(index.snapshot)


def only(view: View, *names: str) -> View:
    return View(view.snapshot, names)


def by_name(choice: Choice) -> dict[str, float]:
    return dict(zip(choice.names, choice.weights.tolist(), strict=True))


def test_an_adapter_is_there_if_it_is_in_the_index_and_visible(view):
    assert [view.has(name) for name in ("code", "mute", "gone")] == [True, True, False]
    some = only(view, "code", "gone")
    assert [some.has(name) for name in ("code", "maths", "gone")] == [True, False, False]


def test_an_adapter_that_is_required_is_there_or_told_as_missing(view):
    assert view.require("mute", "mine", "weights") == "mute"
    with pytest.raises(UnknownAdapterInPolicy) as missing:
        view.require("gone", "mine", "weights")
    assert str(missing.value) == (
        "policy 'mine' names adapter 'gone' in weights, but there is no such adapter; add it or"
        " take the name out"
    )


def test_included_adapters_must_be_there_and_have_something_to_be_scored_by(view):
    view.require_scored(("maths", "code"), "mine")
    with pytest.raises(UnknownAdapterInPolicy) as missing:
        view.require_scored(("maths", "gone"), "mine")
    assert "policy 'mine' names adapter 'gone' in candidates.include," in str(missing.value)
    with pytest.raises(NoCentroid) as mute:
        view.require_scored(("maths", "mute"), "mine")
    assert str(mute.value) == (
        "adapter 'mute' cannot be a candidate: it came without examples, description or centroid,"
        " so there is nothing to score it by"
    )


@pytest.mark.parametrize(
    ("raw", "visible", "candidates"),
    [
        ({"kind": "tle"}, None, NAMES),
        ({"kind": "tle"}, ("science", "code", "mute", "gone"), ("code", "science")),
        ({"kind": "tle"}, (), ()),
        ({"kind": "tle", "candidates": {"exclude": ["maths"]}}, None, ("code", "science")),
        ({"kind": "uniform", "candidates": {"include": ["maths", "z"]}}, None, ("maths",)),
        ({"kind": "tle", "candidates": {"include": ["code", "maths"]}}, ("maths",), ("maths",)),
        ({"kind": "tle", "candidates": {"exclude": ["maths"]}}, (), ()),
        ({"kind": "fixed", "weights": {"mute": 1, "code": 0.5}}, None, ("code", "mute")),
    ],
)
def test_candidates_are_what_is_visible_scored_and_let_through(view, raw, visible, candidates):
    assert View(view.snapshot, visible).candidates(policy(**raw), "mine") == candidates


def test_lists_that_leave_nothing_are_refused_where_there_is_something(view):
    config = policy(kind="tle", candidates={"exclude": ["code", "maths"]})
    with pytest.raises(NoCandidates) as refused:
        only(view, "code", "maths").candidates(config, "mine")
    assert str(refused.value) == (
        "the candidates of policy 'mine' (include, exclude) leave no adapter;"
        " without them there are 2"
    )


def test_a_fixed_policys_adapters_must_be_visible(view):
    config = policy(kind="fixed", weights={"code": 1, "mute": 1})
    with pytest.raises(UnknownAdapterInPolicy, match="'mine' names adapter 'mute' in weights,"):
        only(view, "code").candidates(config, "mine")


def test_scores_are_those_of_the_named_adapters_in_their_order(view):
    texts = np.array([[0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
    assert view.scores(texts, NAMES) == pytest.approx(np.array([[0.6, 0.8, 0], [0, 0, 1]]))
    assert view.scores(texts[0], ("maths", "code")) == pytest.approx([0.8, 0.6])


@pytest.mark.parametrize("left_out", [0, 10])
def test_in_a_large_index_the_scores_that_can_decide_are_exact(monkeypatch, left_out):
    """One more than a mixture has: LoRA-TLE's own rule can make the best one the lightest."""
    monkeypatch.setattr("router.centroids.index.WORTH_SHARING", 0)
    rng = np.random.default_rng(1)
    entries = CentroidIndex()
    entries.put_all((f"a{n:02}", "d", row) for n, row in enumerate(rng.normal(size=(60, 40))))
    view, text = View(entries.snapshot), rng.normal(size=40)
    names = view.snapshot.names[left_out:]
    exact = built({name: view.snapshot.entries[name] for name in names}, few=True)
    wanted = exact.scores(text).cosines
    for most, count in ((3, 4), (None, len(names))):
        found = view.scores(text, names, most)
        best = np.sort(wanted.argsort()[::-1][:count])
        assert np.flatnonzero(found == wanted).tolist() == best.tolist()


@pytest.mark.parametrize(
    ("raw", "most", "names", "fallback"),
    [
        ({"kind": "nearest"}, None, (), "base"),
        ({"kind": "nearest", "fallback": "mute"}, None, ("mute",), "mute"),
        ({"kind": "nearest", "fallback": "uniform"}, None, NAMES, "uniform"),
        ({"kind": "nearest", "fallback": "uniform"}, 2, NAMES[:2], "uniform"),
        ({"kind": "nearest", "fallback": "uniform", "top_k": 1}, 2, NAMES[:1], "uniform"),
    ],
)
def test_without_text_the_fallback_answers(raw, most, names, fallback):
    choice = choose(policy(**raw), NAMES, None, most)
    assert choice.fallback == fallback
    weights = by_name(choice)
    assert {name: weight for name, weight in weights.items() if weight} == pytest.approx(
        {name: 1 / len(names) for name in names}
    )


@pytest.mark.parametrize("raw", [{"kind": "nearest", "fallback": "code"}, {"kind": "uniform"}])
@pytest.mark.parametrize("scores", [None, np.empty(0)])
def test_without_candidates_the_base_model_answers(raw, scores):
    choice = choose(policy(**raw), (), scores)
    assert (choice.names, choice.weights.tolist(), choice.fallback) == ((), [], "base")


def test_without_candidates_the_base_model_answers_every_text():
    choices = choose_each(policy(kind="tle"), (), np.empty((3, 0)))
    assert [(one.names, one.fallback) for one in choices] == [((), "base")] * 3


def test_what_needs_no_text_is_weighed_without_one():
    uniform = choose(policy(kind="uniform"), NAMES, None, 2)
    assert (by_name(uniform), uniform.fallback) == ({"code": 0.5, "maths": 0.5, "science": 0}, None)
    fixed = choose(policy(kind="fixed", weights=dict.fromkeys(NAMES, 0.7)), NAMES, None, 1)
    assert (by_name(fixed), fixed.fallback) == (dict.fromkeys(NAMES, 0.7), None)


@pytest.mark.parametrize(("top_k", "most", "members"), [(None, 2, 2), (1, 2, 1), (2, 1, 1)])
def test_a_mixture_has_no_more_members_than_the_policy_and_the_engine_allow(top_k, most, members):
    config = policy(kind="softmax", top_k=top_k)
    assert np.count_nonzero(choose(config, NAMES, SCORES, most).weights) == members
    (same,) = choose_each(config, NAMES, SCORES[None], most)
    assert np.count_nonzero(same.weights) == members


def test_each_text_is_answered_for_itself():
    config = policy(kind="nearest", threshold=0.5, fallback="mute", base_share=0.25)
    scores = np.array([[0.1, 0.6, 0.3], [0.4, 0.2, 0.1], [0.5, 0.1, 0.1]])
    maths, below, code = choose_each(config, NAMES, scores)
    assert (by_name(maths), maths.fallback) == ({"code": 0, "maths": 0.75, "science": 0}, None)
    assert (by_name(below), below.fallback) == ({"mute": 1.0}, "mute")
    assert (by_name(code), code.fallback) == ({"code": 0.75, "maths": 0, "science": 0}, None)


def test_a_fallback_of_all_has_no_more_members_than_a_mixture_may():
    config = policy(kind="nearest", threshold=0.9, fallback="uniform")
    (choice,) = choose_each(config, NAMES, SCORES[None], 2)
    assert (by_name(choice), choice.fallback) == (
        {"code": 0.5, "maths": 0.5, "science": 0},
        "uniform",
    )


def test_lighter_ones_go_before_the_bases_share_is_taken():
    config = policy(kind="uniform", min_weight=0.3, base_share=0.5)
    assert by_name(choose(config, NAMES, None)) == pytest.approx(dict.fromkeys(NAMES, 1 / 6))
    none = choose(policy(kind="uniform", min_weight=0.4, fallback="code"), NAMES, None)
    assert (by_name(none), none.fallback) == ({"code": 1.0}, "code")


def test_a_mixture_holds_who_has_weight_by_digest_and_tells_its_policy(view):
    config = policy(kind="softmax", base_share=0.5, combination="linear")
    choice = Choice(NAMES, np.array([0.1, 0.4, 0.0]))
    assert mixture_of(choice, view, config, "mine") == Mixture(
        (Member("maths", "d-maths", 0.4), Member("code", "d-code", 0.1)),
        base_share=0.5,
        combination="linear",
        policy="mine",
        policy_version=config.version,
    )


def test_names_and_weights_that_do_not_belong_together_make_no_mixture(view):
    with pytest.raises(ValueError, match="zip"):
        mixture_of(Choice(NAMES, np.ones(2)), view, policy(kind="tle"), "mine")


@pytest.mark.parametrize(
    "choice",
    [Choice(NAMES, np.zeros(3)), Choice(fallback="base")],
    ids=["all to the base model", "the base model in the policy's place"],
)
def test_the_base_model_alone_has_no_share_of_itself(view, choice):
    config = policy(kind="softmax", base_share=1.0)
    told = {"policy": "mine", "policy_version": config.version}
    assert mixture_of(choice, view, config, "mine") == Mixture(**told)


def test_what_answers_in_the_policys_place_shares_with_nobody(view):
    config = policy(kind="softmax", base_share=0.5, fallback="mute")
    mixture = mixture_of(Choice(("mute",), np.ones(1), "mute"), view, config, "mine")
    assert (mixture.weights, mixture.base_share) == ({"mute": 1.0}, 0.0)
    every = mixture_of(Choice(NAMES, np.full(3, 0.25), "uniform"), view, config, "mine")
    assert (every.weights, every.base_share) == (dict.fromkeys(NAMES, 0.25), 0.0)


def test_a_fallback_adapter_must_be_visible(view):
    choice = Choice(("mute",), np.ones(1), "mute")
    with pytest.raises(UnknownAdapterInPolicy, match="'mine' names adapter 'mute' in fallback,"):
        mixture_of(choice, only(view, "code"), policy(kind="nearest", fallback="mute"), "mine")
