"""The real encoder, from the cache that the preparation step fills."""

import os
from pathlib import Path

import pytest

from adapters.adapter import RoutingData
from router.centroids.index import CentroidIndex
from router.encoders import make_encoder
from router.policies.config import default_policies
from router.router import Router
from tests.support.routing import TEXTS


@pytest.fixture(scope="session")
def encoder_path():
    cache = Path(os.environ.get("LORALLOY_CACHE_DIR") or Path.home() / ".cache" / "loralloy")
    path = cache / "encoders" / "all-MiniLM-L6-v2"
    assert path.is_dir(), "run `make prepare` first: the default encoder is not in the cache"
    return path


@pytest.fixture(scope="session")
def encoder(encoder_path):
    return make_encoder(str(encoder_path))


@pytest.fixture
def router(encoder):
    return Router(encoder, CentroidIndex(), default_policies())


@pytest.fixture
def filled(router):
    for name, texts in TEXTS.items():
        router.add_adapter(name, f"d-{name}", RoutingData(texts))
    return router
