"""Batches are drawn ahead: the same by seed, fair to every item, with little padding."""

from collections import Counter

from adapters.training.data.order import draw_batches

LENGTHS = [(7 * n) % 50 + 1 for n in range(64)]


def test_equal_seeds_draw_equal_batches():
    assert draw_batches(LENGTHS, 4, 20, seed=3) == draw_batches(LENGTHS, 4, 20, seed=3)
    assert draw_batches(LENGTHS, 4, 20, seed=3) != draw_batches(LENGTHS, 4, 20, seed=4)


def test_every_item_is_used_once_before_any_is_used_again():
    uses = Counter(index for batch in draw_batches(LENGTHS, 4, 16, seed=0) for index in batch)
    assert uses == Counter(range(64))


def test_a_short_file_is_used_again_and_again():
    batches = draw_batches([3, 5, 4], batch_size=2, steps=9, seed=0)
    assert [len(batch) for batch in batches] == [2] * 9
    uses = Counter(index for batch in batches for index in batch)
    assert set(uses.values()) == {6}


def test_batches_hold_items_of_like_length():
    def padding(batches):
        return sum(
            max(LENGTHS[i] for i in batch) * len(batch) - sum(LENGTHS[i] for i in batch)
            for batch in batches
        )

    unsorted = [list(range(start, start + 4)) for start in range(0, 64, 4)]
    assert padding(draw_batches(LENGTHS, 4, 16, seed=0)) < padding(unsorted) / 2
