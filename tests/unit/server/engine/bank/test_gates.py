"""Gate vectors give exactly the updates that the combinations' definitions give."""

import math

import pytest
import torch

from server.engine.bank.gates import Gates, apply_gates, bank_update, by_slot, gates_of

WEIGHTS = (0.5, 0.3, 0.2)
SCALINGS = (2.0, 0.5, 4.0)
RANK, IN, OUT = 4, 10, 7


@pytest.fixture
def factors() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    a = torch.randn(3, RANK, IN, generator=generator, dtype=torch.float64)
    b = torch.randn(3, OUT, RANK, generator=generator, dtype=torch.float64)
    return a, b


def definition(a: torch.Tensor, b: torch.Tensor, combination: str) -> torch.Tensor:
    """ΔW [out, in], straight from the formulas of the methods."""
    pairs = list(zip(WEIGHTS, SCALINGS, strict=True))
    if combination == "cat":
        return sum(w * s * b[k] @ a[k] for k, (w, s) in enumerate(pairs))
    if combination == "linear":
        left = sum(math.sqrt(w * s) * b[k] for k, (w, s) in enumerate(pairs))
        right = sum(math.sqrt(w * s) * a[k] for k, (w, s) in enumerate(pairs))
        return left @ right
    return sum(b[k] for k in range(3)) @ sum(w * s * a[k] for k, (w, s) in enumerate(pairs))


@pytest.mark.parametrize("combination", ["cat", "linear", "linear_peft04"])
def test_bank_equals_the_definition(factors, combination: str) -> None:
    a, b = factors
    x = torch.randn(5, IN, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    gates = gates_of(WEIGHTS, SCALINGS, combination)
    inner = torch.tensor([gates.inner] * 5)
    outer = torch.tensor([gates.outer] * 5)
    crossed = torch.tensor([gates.crossed] * 5)
    stored = torch.stack([s * b[k].T for k, s in enumerate(SCALINGS)])
    got = bank_update(x, a, stored, (inner, outer, crossed))
    expected = x @ definition(a, b, combination).T
    assert torch.allclose(got.double(), expected, atol=1e-4, rtol=1e-5)


def test_the_crossed_rules_have_cross_terms(factors) -> None:
    a, b = factors
    exact = definition(a, b, "cat")
    for combination in ("linear", "linear_peft04"):
        apart = (definition(a, b, combination) - exact).norm() / exact.norm()
        assert apart > 0.1


def test_rows_of_unlike_rules_do_not_mix() -> None:
    z = torch.randn(2, 3, RANK, generator=torch.Generator().manual_seed(5))
    inner = torch.tensor([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0]])
    outer = torch.tensor([[1.0, 1.0, 0.0], [1.0, 2.0, 0.0]])
    h = apply_gates(z, inner, outer, torch.tensor([False, True]))
    assert torch.equal(h[0], z[0] * inner[0][:, None])
    total = (z[1] * inner[1][:, None]).sum(0)
    assert torch.allclose(h[1, 1], 2 * total)
    assert torch.equal(h[1, 2], torch.zeros(RANK))


def test_single_adapter_is_plain_lora_under_every_rule(factors) -> None:
    a, b = factors
    x = torch.randn(2, IN, generator=torch.Generator().manual_seed(6))
    expected = x @ (3.0 * b[0] @ a[0]).T.float()
    for combination in ("cat", "linear", "linear_peft04"):
        gates = gates_of((1.0,), (3.0,), combination)
        stacked = (torch.tensor([gates.inner] * 2), torch.tensor([gates.outer] * 2))
        got = bank_update(
            x, a[:1], (3.0 * b[0].T)[None], (*stacked, torch.tensor([gates.crossed] * 2))
        )
        assert torch.allclose(got, expected, atol=1e-4)


def test_refuses_what_has_no_meaning() -> None:
    with pytest.raises(ValueError, match="unknown combination 'mean'"):
        gates_of((1.0,), (1.0,), "mean")
    with pytest.raises(ValueError, match="scalings above 0"):
        gates_of((1.0,), (0.0,), "linear")


@pytest.mark.parametrize("combination", ["linear", "linear_peft04"])
@pytest.mark.parametrize("scalings", [(2.0,), (2.0, 1.0, 1.0)])
def test_refuses_another_number_of_scalings_than_of_weights(combination, scalings) -> None:
    with pytest.raises(ValueError, match="zip"):
        gates_of((0.5, 0.5), scalings, combination)


@pytest.mark.parametrize(
    ("combination", "gates"),
    [
        ("cat", Gates((0.25, 0.5), (1.0, 1.0), crossed=False)),
        ("linear", Gates((1.0, 0.5), (0.25, 1.0), crossed=True)),
        ("linear_peft04", Gates((1.0, 0.25), (0.25, 2.0), crossed=True)),
    ],
)
def test_gates_are_those_of_the_table(combination: str, gates: Gates) -> None:
    assert gates_of((0.25, 0.5), (4.0, 0.5), combination) == gates


def test_slots_that_differ_keep_their_gates() -> None:
    gates = Gates((0.25, 0.5), (1.0, 1.0), crossed=False)
    assert by_slot([2, 0], gates) == ((2, 0), gates)


@pytest.mark.parametrize(("crossed", "outer"), [(False, 1.0), (True, 2.0)])
def test_the_gates_of_one_slot_add_up_but_for_an_outer_one_that_is_always_1(
    crossed: bool, outer: float
) -> None:
    gates = Gates((0.25, 0.5), (1.0, 1.0), crossed)
    assert by_slot([3, 3], gates) == ((3,), Gates((0.75,), (outer,), crossed))


@pytest.mark.parametrize("slots", [[1, 1, 1], [1, 1, 1, 0]])
def test_another_number_of_slots_than_of_gates_is_refused(slots: list[int]) -> None:
    with pytest.raises(ValueError, match="zip"):
        by_slot(slots, Gates((0.25, 0.5), (1.0, 1.0), crossed=False))


@pytest.mark.parametrize("combination", ["cat", "linear", "linear_peft04"])
def test_one_content_under_two_names_counts_for_both(factors, combination: str) -> None:
    """The same definition, where the last member is the first one's content again."""
    a, b = (torch.stack([one[0], one[1], one[0]]) for one in factors)
    scalings = (2.0, 0.5, 2.0)
    slots, gates = by_slot([1, 0, 1], gates_of(WEIGHTS, scalings, combination))
    assert slots == (1, 0)
    pairs = list(zip(WEIGHTS, scalings, strict=True))
    if combination == "cat":
        update = sum(w * s * b[k] @ a[k] for k, (w, s) in enumerate(pairs))
    elif combination == "linear":
        update = sum(math.sqrt(w * s) * b[k] for k, (w, s) in enumerate(pairs)) @ sum(
            math.sqrt(w * s) * a[k] for k, (w, s) in enumerate(pairs)
        )
    else:
        update = sum(b) @ sum(w * s * a[k] for k, (w, s) in enumerate(pairs))
    x = torch.randn(5, IN, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    told = [torch.tensor([one] * 5) for one in (gates.inner, gates.outer, gates.crossed)]
    stored = torch.stack([s * b[k].T for k, s in enumerate(scalings[:2])])
    got = bank_update(x, a[:2], stored, tuple(told))
    assert torch.allclose(got.double(), x @ update.T, atol=1e-4, rtol=1e-5)
