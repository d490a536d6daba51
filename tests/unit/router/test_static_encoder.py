import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from router.encoders import make_encoder
from router.encoders.base import Space
from router.encoders.static import BUNDLED, UNBOUNDED_PIECES, StaticEncoder
from router.encoders.static_format import StaticConfig, read_folder, write_folder
from router.encoders.token_vectors import TokenVectors, packed, quantised, unpacked
from router.encoders.vocabulary import (
    found_tokenizer,
    load_tokenizer,
    vocabulary_digest,
    vocabulary_size,
)
from router.errors import EncoderFailed
from router.fit import read_fitted
from router.index import CentroidIndex
from router.options import Window
from router.window import RoutingInput, embedding_of, stretches

WIDTH, TEACHER_WIDTH = 5, 8


def tiny_tokenizer(words=("add", "two", "numbers", "photosynthesis")):
    """Bytes, and a few words with the blank before them, as byte-level models have them."""
    vocabulary = {
        character: number
        for number, character in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))
    }
    merges = []
    for word in words:
        built = "Ġ"
        for letter in word:
            merges.append((built, letter))
            built += letter
            vocabulary.setdefault(built, len(vocabulary))
    tokenizer = Tokenizer(models.BPE(vocabulary, list(dict.fromkeys(merges))))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|end|>"])
    return tokenizer


@pytest.fixture
def tokenizer():
    return tiny_tokenizer()


@pytest.fixture
def rows(tokenizer):
    return np.random.default_rng(3).standard_normal((vocabulary_size(tokenizer), WIDTH))


def config_for(tokenizer, bits=8, **other):
    values = {
        "name": "static-tiny",
        "base_model": "nobody/tiny",
        "vocabulary_size": vocabulary_size(tokenizer),
        "vocabulary_sha256": vocabulary_digest(tokenizer),
        "teacher": "all-MiniLM-L6-v2",
        "teacher_dimension": TEACHER_WIDTH,
        "dimension": WIDTH,
        "bits": bits,
    }
    return StaticConfig(**(values | other))


@pytest.fixture(params=[4, 8])
def folder(request, tmp_path, tokenizer, rows):
    basis = np.linalg.qr(np.random.default_rng(4).standard_normal((TEACHER_WIDTH, WIDTH)))[0].T
    write_folder(tmp_path / "tiny", config_for(tokenizer, request.param), rows, basis)
    return tmp_path / "tiny"


@pytest.fixture
def tiny(folder, tokenizer):
    return StaticEncoder(str(folder), tokenizer=tokenizer)


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


@pytest.mark.parametrize("bits", [4, 8])
def test_quantising_keeps_directions(bits):
    rows = np.random.default_rng(7).standard_normal((50, 33)) * np.geomspace(1e-3, 10, 50)[:, None]
    rows[7] = 0
    codes, scales = quantised(rows, bits)
    back = codes * scales[:, None].astype(np.float64)
    kept = [place for place in range(50) if place != 7]
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


def test_another_vocabulary_is_refused(folder):
    with pytest.raises(EncoderFailed, match=r"tokens of 'nobody/tiny', but the tokenizer given"):
        StaticEncoder(str(folder), tokenizer=tiny_tokenizer(("subtract",)))


def test_the_tokenizer_is_found_in_the_cache_by_the_base_models_name(
    folder, tokenizer, tmp_path, monkeypatch
):
    with pytest.raises(EncoderFailed, match="tokenizer of base model 'nobody/tiny' is not on this"):
        StaticEncoder(str(folder))
    place = tmp_path / "cache" / "models" / "tiny"
    place.mkdir(parents=True)
    tokenizer.save(str(place / "tokenizer.json"))
    monkeypatch.setenv("LORALLOY_CACHE_DIR", str(tmp_path / "cache"))
    found = make_encoder(f"static:{folder}")
    given = StaticEncoder(str(folder), tokenizer=place)
    assert (found.encode(["add"]) == given.encode(["add"])).all()
    (place / "tokenizer.json").write_text('{"model": 3}')
    with pytest.raises(EncoderFailed, match=r"the tokenizer.json of 'tiny' is damaged"):
        make_encoder(f"static:{folder}")
    with pytest.raises(EncoderFailed, match="no tokenizer can be read from 'nowhere'"):
        StaticEncoder(str(folder), tokenizer=tmp_path / "nowhere")


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(EncoderFailed, match=r"from 'none': config.json: No such file.*distill'"):
        StaticEncoder(str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": "other"}, "format: String should match"),
        ({"bits": 3}, "bits must be 4 or 8, not 3"),
        ({"vocabulary_sha256": "x"}, "vocabulary_sha256: String should match"),
        ({"more": 1}, "more: Extra inputs"),
        ({"dimension": 7}, r"vectors.safetensors is damaged: '\w+' must be u?int8"),
        ({"teacher_dimension": 9}, "'projection' must be float16 .5, 9., but is float16 .5, 8."),
    ],
)
def test_a_wrong_config_is_told(folder, tokenizer, change, words):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(EncoderFailed, match=words):
        StaticEncoder(str(folder), tokenizer=tokenizer)


def test_damaged_files_are_told(folder, tokenizer):
    path = folder / "vectors.safetensors"
    arrays = load_file(path)
    for name, value in (("scales", np.nan), ("scales", 2), ("projection", np.inf)):
        damaged = {key: array.copy() for key, array in arrays.items()}
        damaged[name].flat[3] = value
        save_file(damaged, path)
        with pytest.raises(EncoderFailed, match="holds impossible values"):
            StaticEncoder(str(folder), tokenizer=tokenizer)
    save_file({key: array for key, array in arrays.items() if key != "scales"}, path)
    with pytest.raises(EncoderFailed, match=r"'scales' must be float16 .*, but is nothing"):
        StaticEncoder(str(folder), tokenizer=tokenizer)
    path.write_bytes(b"\0" * 40)
    with pytest.raises(EncoderFailed, match=r"vectors.safetensors of 'tiny' is damaged"):
        StaticEncoder(str(folder), tokenizer=tokenizer)
    path.unlink()
    with pytest.raises(EncoderFailed, match=r"vectors.safetensors of 'tiny' is missing"):
        StaticEncoder(str(folder), tokenizer=tokenizer)
    (folder / "config.json").write_text("{")
    with pytest.raises(EncoderFailed, match=r"config.json of 'tiny' is no static encoder's"):
        StaticEncoder(str(folder), tokenizer=tokenizer)


def test_serving_needs_neither_torch_nor_sentence_transformers():
    program = (
        "import sys, router.encoders.static;"
        "print([m for m in ('torch', 'sentence_transformers', 'vllm') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


ADAPTERS = Path(__file__).parents[3] / "examples" / "adapters"
NAMES = ("code", "maths", "reading", "science")
TEXTS = {
    "maths": "Question: A baker makes 24 rolls an hour and sells them at $2 each. How much money"
    " does he make in a day of 8 hours?\n\nAnswer: In a day he bakes 24 * 8 = 192 rolls.",
    "science": "Question: Which of these is a renewable source of energy?\nChoices:\nA. coal\n"
    "B. natural gas\nC. wind\nD. petroleum\n\nAnswer: C",
    "code": "Write a Python function that checks whether a string is a palindrome.\n\nAnswer:"
    " def is_palindrome(text):\n    return text == text[::-1]",
}


@pytest.fixture(scope="module")
def bundled():
    return make_encoder("static:static-smollm2", threads=None, cache_size=0, dtype="bfloat16")


@pytest.fixture(scope="module")
def centroids():
    data = [read_fitted(ADAPTERS / name / "router.json") for name in NAMES]
    return [np.array(one.centroids) for one in data]


def scores_of(embeddings, centroids):
    index = CentroidIndex()
    index.put_all((name, "d", row) for name, row in zip(NAMES, centroids, strict=True))
    return np.array([index.scores(row).cosines for row in embeddings])


def test_the_bundled_encoder_scores_as_its_teacher_does(bundled, encoder, centroids):
    assert (bundled.name, bundled.space) == ("static-smollm2", encoder.space)
    texts = list(TEXTS.values())
    ours = scores_of(bundled.encode(texts), centroids)
    wanted = scores_of(encoder.encode(texts), centroids)
    assert [NAMES[place] for place in ours.argmax(axis=1)] == list(TEXTS)
    assert (ours.argmax(axis=1) == wanted.argmax(axis=1)).all()
    assert np.abs(ours - wanted).mean() < 0.08


def test_the_bundled_encoder_follows_a_text_that_turns(bundled, centroids):
    """A state that goes on from sums to code moves from one centroid to the other."""
    state = bundled.begin(TEXTS["maths"])
    assert NAMES[int(scores_of([bundled.embedding(state)], centroids).argmax())] == "maths"
    tokenizer = load_tokenizer(found_tokenizer("HuggingFaceTB/SmolLM2-135M-Instruct"))
    for token in tokenizer.encode(TEXTS["code"] * 6).ids:
        state.add([token])
    assert NAMES[int(scores_of([bundled.embedding(state)], centroids).argmax())] == "code"


def test_the_bundled_files_are_small_and_special_tokens_say_nothing(bundled):
    folder = BUNDLED / "static-smollm2"
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 4_000_000
    said = bundled.begin("Write code.")
    templated = bundled.begin("<|im_start|>Write code.<|im_end|>")
    assert (said.direction() == templated.direction()).all()


def test_the_bundled_agreement_is_that_of_its_card():
    folder = BUNDLED / "static-smollm2"
    figures = json.loads((folder / "agreement.json").read_text())["agreement"]
    card = (folder / "README.md").read_text()
    for row in figures:
        assert f"| {row['group']} | {row['samples']} | {row['top_1']:.3f} |" in card
