"""Tokens are counted alike, whichever way vLLM tells them."""

from types import SimpleNamespace

from server.engine.client.token_count import TokenCount


def choice(index: int, tokens: int) -> SimpleNamespace:
    return SimpleNamespace(index=index, token_ids=list(range(tokens)))


def test_new_tokens_add_up():
    count = TokenCount(is_delta=True)
    assert [count.new(choice(0, given)) for given in (1, 3, 0)] == [(0, 1), (1, 3), (4, 0)]
    assert count.new(choice(1, 2)) == (0, 2)
    assert count.total == 6


def test_all_so_far_is_told_apart_from_what_is_new():
    count = TokenCount(is_delta=False)
    assert [count.new(choice(0, given)) for given in (1, 4, 4)] == [(0, 1), (1, 3), (4, 0)]
    assert count.total == 4
