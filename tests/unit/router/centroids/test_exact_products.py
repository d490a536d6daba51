"""Products with many columns: the same whether or not a helper comes, also for many at once."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from router.centroids import exact_products
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
    found = product(parts, vector)
    assert (found.shape, found.dtype) == ((count,), np.float32)
    np.testing.assert_allclose(found, matrix @ vector, rtol=1e-4, atol=1e-4)


def test_the_grid_has_a_point_every_2_to_the_minus_26_and_the_nearest_is_taken():
    values = np.array([1 / 3, -0.7, 2.0**-26, 0.6 * 2.0**-26, 0.4 * 2.0**-26, 1.0], np.float64)
    steps = on_grid(values) * 2.0**26
    assert (steps == np.rint(values * 2.0**26)).all()
    assert steps[2:].tolist() == [1.0, 1.0, 0.0, 2.0**26]
    assert on_grid(values.astype(np.float32)).dtype == np.float64


@pytest.mark.parametrize("width", [1, 64, 384])
def test_the_noise_is_the_bound_of_sums_in_any_order(width):
    """Each product, each sum and each of the two factors is rounded by half an epsilon at most."""
    products, sums, factors = width, width, 4
    epsilon = float(np.finfo(np.float32).eps)
    assert noise(width) == (products + sums + factors) * epsilon / 2


def test_a_helper_takes_parts_that_nobody_has_begun(monkeypatch):
    """Whoever asks is slow here, so that the helper does all of it."""
    own = exact_products._Job.work
    workers = set()

    def work(job) -> None:
        workers.add(threading.current_thread().name)
        if threading.current_thread() is not threading.main_thread():
            own(job)
        deadline = time.monotonic() + 30
        while job._left and time.monotonic() < deadline:
            time.sleep(0.001)

    monkeypatch.setattr(exact_products._Job, "work", work)
    matrix = rows(100)
    found = product(in_parts(matrix), matrix[0])
    np.testing.assert_allclose(found, matrix @ matrix[0], rtol=1e-4, atol=1e-4)
    assert workers == {"MainThread", "centroids"}


def test_the_helper_ends_with_the_process():
    product(in_parts(rows(4)), rows(1)[0])
    (helper,) = (one for one in threading.enumerate() if one.name == "centroids")
    assert helper.daemon


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
