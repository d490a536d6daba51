"""Products with many columns: the same whether or not a helper comes, also for many at once."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from router.centroids.exact_products import PARTS, WORTH_SHARING, in_parts, noise, on_grid, product

WIDTH = 64


def rows(count):
    return np.random.default_rng(0).standard_normal((count, WIDTH)).astype(np.float32)


@pytest.mark.parametrize("count", [1, 7, WORTH_SHARING // WIDTH, WORTH_SHARING // WIDTH + 5])
def test_parts_make_the_whole_product(count):
    matrix = rows(count)
    parts = in_parts(matrix)
    assert len(parts) == PARTS
    assert all(part.flags.c_contiguous for part in parts)
    vector = matrix[count // 2]
    np.testing.assert_allclose(product(parts, vector), matrix @ vector, rtol=1e-4, atol=1e-4)


def test_single_precision_is_off_the_grid_by_less_than_the_noise():
    matrix = rows(5000) + 1
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    exact = on_grid(matrix) @ on_grid(matrix[0])
    assert np.abs(product(in_parts(matrix), matrix[0]) - exact).max() < noise(WIDTH)


def test_many_at_once_do_not_mix():
    matrix = rows(WORTH_SHARING // WIDTH)
    parts, vectors = in_parts(matrix), rows(40)
    alone = [product(parts, vector) for vector in vectors]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda vector: product(parts, vector), vectors))
    assert all(np.array_equal(one, other) for one, other in zip(alone, together, strict=True))
