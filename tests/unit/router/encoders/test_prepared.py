"""Linear layers laid out once give what torch's own give."""

import pytest
import torch
from torch import nn

from router.encoders import prepared


@pytest.fixture
def layers() -> nn.Sequential:
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Linear(48, 96), nn.GELU())
    return nn.Sequential(inner, nn.Linear(96, 32, bias=False)).eval()


@pytest.mark.skipif(not prepared.is_supported(), reason="no products in bfloat16 here")
@pytest.mark.parametrize("shape", [(48,), (1, 48), (3, 7, 48), (65, 48)])
def test_prepared_layers_give_the_same(layers: nn.Sequential, shape: tuple[int, ...]) -> None:
    exact = layers.double()
    x = torch.randn(shape, dtype=torch.bfloat16)
    with torch.inference_mode():
        wanted = exact(x.double())
        halved = layers.to(torch.bfloat16)
        plain = halved(x)
        assert prepared.prepare(halved) == 2
        found = halved(x)
    assert found.shape == wanted.shape
    assert found.dtype == torch.bfloat16
    # As near to the exact values as torch's own layers are, give or take a rounding.
    assert (found - wanted).abs().max() <= 2 * (plain - wanted).abs().max()


def test_other_types_are_left_alone(layers: nn.Sequential) -> None:
    assert prepared.prepare(layers) == 0
    assert isinstance(layers[1], nn.Linear)


def test_without_the_operators_nothing_is_replaced(
    layers: nn.Sequential, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepared, "is_supported", lambda: False)
    halved = layers.to(torch.bfloat16)
    assert prepared.prepare(halved) == 0
    assert isinstance(halved[1], nn.Linear)
