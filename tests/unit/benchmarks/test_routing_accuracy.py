import json

import numpy as np
import pytest

from benchmarks.routing_accuracy import report, texts
from benchmarks.routing_accuracy.variants import cosines, figures, variants

ROWS = {
    "maths": lambda n: {"question": f"sum {n}", "answer": str(n)},
    "science": lambda n: {"question": f"cell {n}", "choices": ["a", "b"], "answer": "A"},
    "code": lambda n: {"instruction": f"loop {n}", "input": "", "output": "x"},
    "reading": lambda n: {"context": f"passage {n // 7}", "question": f"why {n}", "answer": "b"},
}


@pytest.fixture
def data(tmp_path):
    for task, files in texts.TRAINING.items():
        for name in (*files, texts.HELD_OUT[task]):
            rows = (json.dumps(ROWS[task](number)) for number in range(810))
            (tmp_path / name).write_text("\n".join(rows))
    return tmp_path


def test_no_fold_is_tried_on_a_passage_that_it_was_fitted_on(data):
    splits = list(texts.folds(data))
    assert len(splits) == texts.FOLDS
    tried = []
    for split in splits:
        for task in texts.TRAINING:
            assert not set(split.fitted[task]) & set(split.tried[task])
        passages = [
            {text.split("\n\n")[0] for text in side["reading"]}
            for side in (split.fitted, split.tried)
        ]
        assert not passages[0] & passages[1]
        tried += split.tried["reading"]
    assert len(tried) == len(set(tried)) == texts.FIT_LIMIT + texts.TRIED


def test_held_out_prompts_are_those_asked_for(data):
    split = texts.held_out(data, 5)
    assert {task: len(prompts) for task, prompts in split.tried.items()} == dict.fromkeys(ROWS, 5)
    assert len(split.fitted["science"]) == 2 * texts.FIT_LIMIT


def test_figures_tell_who_wins_and_by_how_much():
    scores = np.array([[0.9, 0.1], [0.1, 0.9], [0.5, 0.5]])
    found = figures(scores, ("a", "b"), "a")
    assert found.top_1 == pytest.approx(2 / 3)  # a tie goes to the first
    assert found.own == pytest.approx(0.5)
    assert found.surprise[0.08] == pytest.approx((10 + np.log(2)) / 3, abs=1e-3)
    assert report.mean([{"t": found}, {"t": found}]) == {"t": found}


def test_every_variant_scores_each_prompt_once():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((80, 8))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    for variant in variants():
        assert variant.scored(cosines(rows[:9], variant.made(rows))).shape == (9,)
