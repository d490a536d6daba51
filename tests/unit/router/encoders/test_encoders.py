import json
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from router.centroids.index import CentroidIndex
from router.encoders import make_encoder
from router.encoders.cache import EmbeddingCache
from router.encoders.sentence_transformer import SentenceTransformerEncoder
from router.errors import EncoderFailed
from router.policies.softmax import SoftmaxPolicy

LONG = " ".join(f"word{number}" for number in range(900))


def test_the_default_encoder_is_what_it_should_be(encoder):
    assert (encoder.name, encoder.dimension, encoder.max_pieces) == ("all-MiniLM-L6-v2", 384, 254)


def test_embeddings_are_unit_float32_rows(encoder):
    rows = encoder.encode(["What is 2 + 2?", "def f(x):", "What is 2 + 2?"])
    assert (rows.shape, rows.dtype) == ((3, 384), np.float32)
    assert np.linalg.norm(rows, axis=1) == pytest.approx(np.ones(3), abs=1e-5)
    assert (rows[0] == rows[2]).all()
    assert encoder.encode([]).shape == (0, 384)


def test_near_meanings_are_nearer(encoder):
    sum_, sums, code = encoder.encode(
        ["How many apples are left?", "How many pears remain?", "Write a Python function."]
    )
    assert sum_ @ sums > sum_ @ code + 0.2


def test_an_embedding_does_not_depend_on_its_batch(encoder_path):
    alone = make_encoder(str(encoder_path)).encode(["short"])
    among = make_encoder(str(encoder_path)).encode(["short", "a much longer text " * 30])
    np.testing.assert_allclose(alone[0], among[0], atol=1e-6)


def test_half_the_precision_hardly_moves_an_embedding(encoder, encoder_path):
    texts = ["What is 2 + 2?", "def f(x): return x", LONG]
    exact = encoder.encode(texts)
    halved = make_encoder(str(encoder_path), dtype="bfloat16").encode(texts)
    assert halved.dtype == np.float32
    assert np.linalg.norm(halved, axis=1) == pytest.approx(np.ones(3), abs=1e-5)
    assert 0 < (1 - (exact * halved).sum(axis=1)).max() < 2e-4


def test_half_the_precision_moves_scores_and_weights_as_little_as_adr_0008_says(
    encoder, encoder_path
):
    """Of the demo adapters, in a softmax at temperature 0.05."""
    folders = sorted((Path(__file__).parents[4] / "examples" / "adapters").glob("*/router.json"))
    index = CentroidIndex()
    for file in folders:
        index.put(file.parent.name, file.parent.name, json.loads(file.read_text())["centroids"])
    halved = make_encoder(str(encoder_path), dtype="bfloat16")
    texts = ["What is 2 + 2?", "def f(x): return x", "Which gas do plants take in?", "?!...", LONG]
    scores = [index.scores(one.encode(texts)).cosines for one in (encoder, halved)]
    weights = [SoftmaxPolicy(temperature=0.05).weigh(one, index.snapshot.names) for one in scores]
    assert scores[0].shape == (len(texts), 4)
    assert 0 < np.abs(scores[0] - scores[1]).max() < 5e-3
    assert np.abs(weights[0] - weights[1]).max() < 0.02


def test_a_text_comes_from_the_cache_the_second_time(encoder):
    text = f"something new {time.time()}"
    first = encoder.encode([text])
    began = time.perf_counter()
    second = encoder.encode([text])
    assert time.perf_counter() - began < 0.005
    assert (first == second).all()
    first[:] = 0
    assert encoder.encode([text]).any()


def test_the_cache_drops_the_least_recently_used():
    cache = EmbeddingCache(2)
    for text in ("a", "b"):
        cache.put(text, np.array([ord(text)], np.float32))
    assert cache.get("a") is not None
    cache.put("c", np.array([1], np.float32))
    assert cache.get("b") is None
    assert cache.get("a").tolist() == [97.0]
    assert len(cache) == 2


def test_a_cache_of_no_size_keeps_nothing():
    cache = EmbeddingCache(0)
    cache.put("a", np.zeros(1, np.float32))
    assert cache.get("a") is None


def test_cut_keeps_the_text_as_it_stands(encoder):
    text = "Éléphants  walk\n\tslowly, uncharacteristically!"
    assert encoder.cut(text, 0, None) == text
    assert encoder.cut("one two three four", 1, 3) == "two three"
    assert encoder.cut("one two three four", -2, None) == "three four"
    assert encoder.cut("", 0, 5) == ""
    assert encoder.cut("one", 5, 9) == ""


def test_cut_reaches_beyond_what_the_encoder_reads(encoder):
    assert encoder.cut(LONG, -1, None) == "9"
    assert encoder.cut(LONG, 0, 3) == "word0 word"
    assert LONG.endswith(encoder.cut(LONG, -254, None))


def test_cut_of_a_huge_text_is_quick(encoder):
    huge = "lorem ipsum dolor " * 300_000
    began = time.perf_counter()
    assert encoder.cut(huge, -2, None) == "dolor"
    encoder.cut(huge, 0, 254)
    assert time.perf_counter() - began < 1


def test_half_a_surrogate_pair_is_read_as_a_question_mark(encoder):
    broken, mended = encoder.encode(["broken \ud800 text", "broken ? text"])
    assert (broken == mended).all()
    assert encoder.cut("broken \ud800 text", 1, None) == "? text"


def test_threads_can_share_an_encoder(encoder_path):
    encoder = make_encoder(str(encoder_path))
    texts = [f"text number {number}" for number in range(12)]
    expected = make_encoder(str(encoder_path)).encode(texts)
    found = {}

    def work(first):
        for place in range(first, 12, 4):
            found[place] = encoder.encode([texts[place]])[0]
            encoder.cut(texts[place] * 50, -20, None)

    threads = [threading.Thread(target=work, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_allclose([found[place] for place in range(12)], expected, atol=1e-6)


def test_torchs_number_of_threads_is_put_back(encoder_path):
    encoder = SentenceTransformerEncoder(str(encoder_path), threads=1)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        encoder.encode(["text"])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_an_unknown_kind_is_told(encoder_path):
    with pytest.raises(EncoderFailed, match="no encoder kind 'word2vec'; known kinds: sentence_tr"):
        make_encoder(f"word2vec:{encoder_path}")
    assert make_encoder(f"sentence_transformer:{encoder_path}").dimension == 384


@pytest.mark.parametrize("model", ["/nowhere/at-all", "nobody/no-such-model-at-all"])
def test_a_model_that_is_not_there_is_told(model):
    with pytest.raises(EncoderFailed, match=f"no encoder can be loaded from the .*{model}"):
        make_encoder(model)


def test_a_folder_that_is_no_model_is_told(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(EncoderFailed, match="no encoder can be loaded from the folder"):
        make_encoder(str(tmp_path))
