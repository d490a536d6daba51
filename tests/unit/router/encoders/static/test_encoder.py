import threading

import numpy as np
import pytest
from safetensors.numpy import load_file

from router.centroids.index import CentroidIndex
from router.encoders.base import Space
from router.encoders.static import UNBOUNDED_PIECES, StaticEncoder
from router.encoders.static_format import read_folder, write_folder
from router.policies.options import Window
from router.window import RoutingInput, embedding_of, stretches
from tests.support.tiny_static import TEACHER_WIDTH, WIDTH, config_for


def test_an_encoder_says_what_it_is(tiny):
    assert (tiny.name, tiny.dimension) == ("static-tiny", TEACHER_WIDTH + 1)
    assert tiny.space == Space("all-MiniLM-L6-v2", TEACHER_WIDTH)
    assert tiny.max_pieces == UNBOUNDED_PIECES
    embeddings = tiny.encode(["add two", "x", "", "add two"])
    assert (embeddings.shape, embeddings.dtype) == ((4, 9), np.float32)
    assert np.linalg.norm(embeddings, axis=1) == pytest.approx([1, 1, 0, 1], abs=1e-6)
    assert (embeddings[0] == embeddings[3]).all()
    assert tiny.encode([]).shape == (0, 9)


def test_an_embedding_is_the_mean_of_the_token_vectors(tmp_path, tokenizer, rows):
    basis = np.eye(WIDTH, TEACHER_WIDTH)
    write_folder(tmp_path / "eight", config_for(tokenizer, 8), rows, basis)
    encoder = StaticEncoder(str(tmp_path / "eight"), tokenizer=tokenizer)
    text = "add two numbers, x + y"
    mean = rows[tokenizer.encode(text).ids].mean(axis=0)
    expected = np.zeros(TEACHER_WIDTH + 1)
    expected[:WIDTH] = mean / np.linalg.norm(mean)
    np.testing.assert_allclose(encoder.encode([text])[0], expected, atol=0.01)


def test_it_is_sentence_transformers_static_embedding(tiny, folder, tokenizer):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    vectors = read_folder(folder).vectors
    table = (vectors.scales[:, None] * vectors.codes)[:-1].astype(np.float32)
    theirs = SentenceTransformer(
        modules=[StaticEmbedding(tokenizer, embedding_weights=table)], device="cpu"
    )
    texts = ["add two numbers", "the photosynthesis of a leaf", "x"]
    expected = theirs.encode(texts, normalize_embeddings=True, show_progress_bar=False)
    directions = [tiny.begin(text).direction() for text in texts]
    np.testing.assert_allclose(directions, expected, atol=1e-6)


def test_a_state_that_grows_equals_one_made_at_once_bit_for_bit(tiny):
    ids = np.random.default_rng(5).integers(0, 200, 3000).tolist()
    whole = tiny.begin_ids(ids).direction()
    for size in (1, 7, 1000):
        state = tiny.begin()
        for start in range(0, len(ids), size):
            state.add(ids[start : start + size])
        assert (state.direction() == whole).all()
        assert state.count == len(ids)
    assert (tiny.begin_ids(ids[::-1]).direction() == whole).all()


def test_a_state_of_a_text_goes_on_with_tokens(tiny, tokenizer):
    state = tiny.begin("add two")
    state.add(tokenizer.encode(" numbers").ids)
    assert (tiny.embedding(state) == tiny.encode(["add two numbers"])[0]).all()


def test_tokens_taken_out_leave_nothing_behind(tiny):
    state = tiny.begin_ids([40, 41, 42])
    before = state.direction()
    state.add([50, 51] * 600)
    assert (state.direction() != before).any()
    state.remove([51, 50] * 600)
    assert (state.direction() == before).all()
    assert state.count == 3


def test_a_copy_grows_apart(tiny):
    state = tiny.begin_ids([40])
    twin = state.copy()
    twin.add([99])
    assert (state.direction() == tiny.begin_ids([40]).direction()).all()
    assert (twin.direction() == tiny.begin_ids([40, 99]).direction()).all()


def test_ids_outside_the_vocabulary_say_nothing(tiny):
    state = tiny.begin_ids([40, 10**9, -1])
    assert (state.direction() == tiny.begin_ids([40]).direction()).all()
    assert not tiny.begin_ids([-5]).direction().any()


def test_an_embedding_lies_in_the_teachers_space(tiny, folder, tokenizer):
    """Cosines to a teacher's centroids: those of its direction u to their projections P c."""
    basis = load_file(folder / "vectors.safetensors")["projection"].astype(np.float64)
    centroids = np.random.default_rng(6).standard_normal((7, TEACHER_WIDTH))
    direction = tiny.begin_ids(tokenizer.encode("add two numbers").ids).direction()
    embedding = tiny.encode(["add two numbers"])[0]
    np.testing.assert_allclose(embedding[:-1], basis.T @ direction, atol=1e-6)
    expected = centroids @ basis.T @ direction / np.linalg.norm(centroids, axis=1)
    index = CentroidIndex()
    index.put_all((f"a{place}", "d", row) for place, row in enumerate(centroids))
    assert index.scores(embedding).cosines == pytest.approx(expected, abs=3e-3)


def test_what_lies_outside_the_teachers_space_makes_cosines_smaller(tmp_path, tokenizer, rows):
    basis = np.eye(WIDTH, TEACHER_WIDTH)
    basis[-1] = 0  # the last value of a row has no place in the space
    write_folder(tmp_path / "part", config_for(tokenizer, 8), rows, basis)
    encoder = StaticEncoder(str(tmp_path / "part"), tokenizer=tokenizer)
    state = encoder.begin("add two numbers")
    embedding = encoder.embedding(state)
    assert np.linalg.norm(embedding) == pytest.approx(1, abs=1e-6)
    assert embedding[-1] == pytest.approx(abs(state.direction()[-1]), abs=1e-6)
    assert embedding[-1] > 0.05


def test_cut_counts_the_base_models_tokens(tiny):
    text = "x add two numbers"
    assert tiny.cut(text, 0, 2) == "x add"
    assert tiny.cut(text, -2, None) == " two numbers"
    assert tiny.cut(text, 1, 3) == " add two"
    assert tiny.cut(text, 0, None) == text
    assert tiny.cut(text, 0, UNBOUNDED_PIECES) == text
    assert tiny.cut(text, UNBOUNDED_PIECES, None) == ""
    assert tiny.cut("", -4, None) == ""
    assert tiny.cut("broken \ud800", 0, None) == "broken ?"
    assert tiny.cut("a add" * 50_000, -2, None) == "a add"


@pytest.mark.parametrize("part", ["head", "tail", "last_message", "whole"])
def test_windows_take_all_of_a_long_text(tiny, part):
    text = "add two numbers " * 2000
    found = stretches(RoutingInput(text=text), Window(part=part), tiny)
    assert found == [text]
    grown = stretches(RoutingInput(text=text), Window(part=part), tiny, " photosynthesis" * 900)
    assert not np.allclose(embedding_of(grown, tiny), embedding_of(found, tiny), atol=1e-3)


def test_threads_can_share_an_encoder(tiny):
    texts = [f"add two numbers {number}" for number in range(40)]
    expected = tiny.encode(texts)
    found = {}
    threads = [
        threading.Thread(target=lambda part=part: found.update({part: tiny.encode(texts[part::4])}))
        for part in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for part in range(4):
        assert (found[part] == expected[part::4]).all()
