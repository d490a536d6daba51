"""The losses against their formulas."""

import math

import pytest
import torch

from adapters.training.run.losses import reduced, sft, soft_sft


def test_where_nothing_has_changed_soft_sft_pulls_as_sft_does():
    log_probs = torch.log(torch.tensor([[0.2, 0.5], [0.9, 0.01]])).requires_grad_()
    reference = log_probs.detach().clone()
    (soft,) = torch.autograd.grad(soft_sft(log_probs, reference, 0.05).sum(), log_probs)
    (plain,) = torch.autograd.grad(sft(log_probs).sum(), log_probs)
    torch.testing.assert_close(soft, plain)


def test_soft_sft_is_its_formula_and_lets_go_of_what_has_risen():
    risen, beta = torch.tensor(3.0, requires_grad=True), 0.5
    loss = soft_sft(risen, torch.tensor(0.0), beta)
    assert loss.item() == pytest.approx(2 / beta * math.log(1 + math.exp(-beta * 3)))
    loss.backward()
    assert risen.grad is not None
    assert risen.grad.item() == pytest.approx(-2 / (1 + math.exp(beta * 3)))


def test_only_answers_count_and_a_step_is_the_sum_of_its_parts():
    losses = torch.arange(6.0).view(2, 3)
    counted = torch.tensor([[False, True, True], [False, False, True]])
    assert reduced(losses, counted, total=3).item() == pytest.approx((1 + 2 + 5) / 3)
    parts = [reduced(losses[[row]], counted[[row]], total=2) for row in range(2)]
    assert sum(parts).item() == pytest.approx(((1 + 2) + 5) / 2), "the mean of the answers' sums"
