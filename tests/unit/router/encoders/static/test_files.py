"""What is refused, and in which words."""

import json
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from router.encoders import make_encoder
from router.encoders.static import StaticEncoder
from router.errors import EncoderFailed
from tests.support.tiny_static import tiny_tokenizer


def test_another_vocabulary_is_refused(folder):
    with pytest.raises(EncoderFailed, match=r"tokens of 'nobody/tiny', but the tokenizer given"):
        StaticEncoder(str(folder), tokenizer=tiny_tokenizer(("subtract",)))


def test_the_tokenizer_is_found_in_the_cache_by_the_base_models_name(
    folder, tokenizer, tmp_path, monkeypatch
):
    with pytest.raises(EncoderFailed, match="tokenizer of base model 'nobody/tiny' is not on this"):
        StaticEncoder(str(folder))
    model = tmp_path / "cache" / "models" / "tiny"
    model.mkdir(parents=True)
    tokenizer.save(str(model / "tokenizer.json"))
    monkeypatch.setenv("LORALLOY_CACHE_DIR", str(tmp_path / "cache"))
    found = make_encoder(f"static:{folder}")
    given = StaticEncoder(str(folder), tokenizer=model)
    assert (found.encode(["add"]) == given.encode(["add"])).all()
    (model / "tokenizer.json").write_text('{"model": 3}')
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
