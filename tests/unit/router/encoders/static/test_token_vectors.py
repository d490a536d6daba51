import numpy as np
import pytest

from router.encoders.token_vectors import TokenVectors, packed, quantised, unpacked


@pytest.mark.parametrize("bits", [4, 8])
def test_quantising_keeps_directions(bits):
    rows = np.random.default_rng(7).standard_normal((50, 33)) * np.geomspace(1e-3, 10, 50)[:, None]
    rows[7] = 0
    codes, scales = quantised(rows, bits)
    back = codes * scales[:, None].astype(np.float64)
    kept = [number for number in range(50) if number != 7]
    cosines = np.sum(back * rows, axis=1)[kept] / np.linalg.norm(back[kept], axis=1)
    cosines /= np.linalg.norm(rows[kept], axis=1)
    assert cosines.min() > {4: 0.98, 8: 0.9999}[bits]
    ratios = np.linalg.norm(back[kept], axis=1) / np.linalg.norm(rows[kept], axis=1)
    assert ratios.max() / ratios.min() == pytest.approx(1, abs={4: 0.1, 8: 0.01}[bits])
    assert not back[7].any()
    assert scales.max() == 1


@pytest.mark.parametrize("width", [1, 6, 7])
def test_packed_codes_come_back(width):
    codes = np.random.default_rng(8).integers(-7, 8, (20, width)).astype(np.int8)
    assert packed(codes).shape == (20, (width + 1) // 2)
    assert (unpacked(packed(codes), width) == codes).all()


def test_sums_do_not_depend_on_their_order():
    rng = np.random.default_rng(9)
    codes, scales = quantised(rng.standard_normal((500, 16)), 8)
    vectors = TokenVectors.of(codes, scales * np.float16(0.001))
    ids = rng.integers(0, 500, 9000)
    parts = sum((vectors.total([number]) for number in ids.tolist()[::-1]), np.zeros(16))
    assert (vectors.total(ids.tolist()) == parts).all()
