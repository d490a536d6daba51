"""What a start does about compiling the base model."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from server.engine.compilation import SPARE_BYTES, Compilation, decide, is_compiled, note, stamp
from server.engine.settings import EngineSettings

PLENTY = 1 << 50


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    save_file({"weight": np.zeros((10, 25), np.float16)}, folder / "model.safetensors")
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def settings(**given: object) -> EngineSettings:
    return EngineSettings.model_validate(given)


def leave_compiled(cache: Path, model: Path) -> None:
    """What a compiled start leaves."""
    (cache / "vllm" / "torch_compile_cache" / "torch_aot_compile" / "0123").mkdir(parents=True)
    note(settings(), cache, model)


def test_a_first_start_serves_and_compiles_beside(cache: Path, model: Path) -> None:
    assert decide(settings(), cache, model, PLENTY) is Compilation.BESIDE


def test_a_later_start_reads_what_is_compiled(cache: Path, model: Path) -> None:
    leave_compiled(cache, model)
    assert is_compiled(settings(), cache, model)
    assert decide(settings(), cache, model, PLENTY) is Compilation.AT_START


def test_a_stamp_without_the_work_counts_for_nothing(cache: Path, model: Path) -> None:
    note(settings(), cache, model)
    assert not is_compiled(settings(), cache, model)


@pytest.mark.parametrize(
    "other",
    [{"max_model_len": 512}, {"dtype": "float32"}, {"max_loras": 3}, {"max_lora_rank": 64}],
    ids=str,
)
def test_other_settings_are_compiled_anew(
    cache: Path, model: Path, other: dict[str, object]
) -> None:
    leave_compiled(cache, model)
    assert decide(settings(**other), cache, model, PLENTY) is Compilation.BESIDE


def test_another_base_model_is_compiled_anew(cache: Path, model: Path) -> None:
    before = stamp(settings(), cache, model)
    (model / "config.json").write_text('{"hidden_size": 64}')
    assert stamp(settings(), cache, model) != before


def test_a_setting_that_compiles_nothing_changes_no_stamp(cache: Path, model: Path) -> None:
    assert stamp(settings(seed=3), cache, model) == stamp(settings(), cache, model)


def test_without_memory_for_two_it_is_compiled_first(cache: Path, model: Path) -> None:
    enough = 2 * (4 * 250 + SPARE_BYTES)
    assert decide(settings(), cache, model, enough) is Compilation.BESIDE
    assert decide(settings(), cache, model, enough - 1) is Compilation.AT_START


@pytest.mark.parametrize(
    ("given", "what"), [("never", Compilation.NONE), ("start", Compilation.AT_START)]
)
def test_what_the_setting_says_holds(
    cache: Path, model: Path, given: str, what: Compilation
) -> None:
    assert decide(settings(compile=given), cache, model, PLENTY) is what


def test_without_a_compiler_nothing_is_compiled(
    cache: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert decide(settings(compile="start"), cache, model, PLENTY) is Compilation.NONE


def test_a_cache_that_cannot_be_written_costs_the_stamp_alone(
    tmp_path: Path, model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    note(settings(), tmp_path / "file", model)
    assert "compile again" in caplog.text
