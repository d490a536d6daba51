"""A tiny static encoder over a tiny tokenizer."""

import numpy as np
import pytest

from router.encoders.static import StaticEncoder
from router.encoders.static_format import write_folder
from router.encoders.vocabulary import (
    vocabulary_size,
)
from tests.support.tiny_static import TEACHER_WIDTH, WIDTH, config_for, tiny_tokenizer


@pytest.fixture
def tokenizer():
    return tiny_tokenizer()


@pytest.fixture
def rows(tokenizer):
    return np.random.default_rng(3).standard_normal((vocabulary_size(tokenizer), WIDTH))


@pytest.fixture(params=[4, 8])
def folder(request, tmp_path, tokenizer, rows):
    basis = np.linalg.qr(np.random.default_rng(4).standard_normal((TEACHER_WIDTH, WIDTH)))[0].T
    write_folder(tmp_path / "tiny", config_for(tokenizer, request.param), rows, basis)
    return tmp_path / "tiny"


@pytest.fixture
def tiny(folder, tokenizer):
    return StaticEncoder(str(folder), tokenizer=tokenizer)
