"""Every broken upload is refused by its own error, and leaves nothing behind."""

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import adapters.errors
from adapters.archive import place_files, unpack_archive
from adapters.errors import InvalidAdapter, TooLarge, UnsafeFile
from adapters.limits import Limits
from adapters.registry.registry import AdapterRegistry
from adapters.validation.base_model import BaseModelShapes
from adapters.validation.validate import validate
from tests.support import archives
from tests.support.broken_adapters import BrokenUpload, Files, GoodAdapter, broken_uploads


def receive(registry: AdapterRegistry, files: Files, limits: Limits) -> None:
    """Take an upload in the way the server does."""
    with registry.store.staging() as stage:
        if "archive" in files:
            unpack_archive(io.BytesIO(files["archive"][1]), stage, limits)
        else:
            (_, config), (weights_name, weights) = files["config"], files["file"]
            place_files(io.BytesIO(config), io.BytesIO(weights), stage, limits, weights_name)
        registry.add("upload", stage)


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_every_broken_upload_is_refused_by_its_code_without_a_trace(
    registry: AdapterRegistry, good_folder: Path, subtests: Any, tmp_path: Path
) -> None:
    registry.add("good", good_folder)
    before = files_below(tmp_path)
    uploads = broken_uploads(good_folder)
    assert len(uploads) >= 60
    for upload in uploads:
        with subtests.test(upload.name):
            with pytest.raises(InvalidAdapter) as caught:
                receive(registry, upload.files, Limits())
            assert caught.value.code == upload.code, str(caught.value)
            assert str(tmp_path) not in str(caught.value)
            assert str(caught.value).isprintable()
            assert files_below(tmp_path) == before
    assert [adapter.name for adapter in registry.all()] == ["good"]


@pytest.mark.parametrize("wrap", [archives.zip_of, archives.tar_gz_of])
@pytest.mark.parametrize("prefix", ["", "./", "top/"])
def test_a_good_archive_is_taken_and_other_files_are_ignored(
    registry: AdapterRegistry,
    good_folder: Path,
    wrap: Callable[..., bytes],
    prefix: str,
    tmp_path: Path,
) -> None:
    members = [*GoodAdapter.read(good_folder).members(prefix), (prefix + "README.md", b"# hello")]
    stage = tmp_path / "stage"
    stage.mkdir()
    unpacked = unpack_archive(io.BytesIO(wrap(members)), stage, Limits())
    assert unpacked.ignored == 1
    assert files_below(stage) == ["adapter_config.json", "adapter_model.safetensors"]
    adapter, _ = registry.add("upload", stage)
    assert adapter.digest == registry.add("bare", good_folder)[0].digest


def test_bytes_thrown_away_are_bounded_too(good_folder: Path, tmp_path: Path) -> None:
    limits = Limits(max_weights_bytes=10_000, max_config_bytes=10_000, max_ignored_bytes=10_000)
    bomb = archives.tar_gz_of([("big", bytes(100_000))])
    with pytest.raises(TooLarge):
        unpack_archive(io.BytesIO(bomb), tmp_path, limits)


def test_weights_above_the_limit_are_refused_before_they_are_read(
    good_folder: Path, base: BaseModelShapes
) -> None:
    with pytest.raises(TooLarge, match="1000 are allowed"):
        validate(good_folder, base, Limits(max_weights_bytes=1000))
    with pytest.raises(TooLarge, match="header"):
        validate(good_folder, base, Limits(max_header_bytes=100))


def test_links_pipes_and_pickles_in_a_folder_are_refused(
    good_folder: Path, base: BaseModelShapes, tmp_path: Path
) -> None:
    config = (good_folder / "adapter_config.json").read_bytes()
    weights = tmp_path / "adapter_model.safetensors"
    (tmp_path / "adapter_config.json").write_bytes(config)

    weights.symlink_to(good_folder / "adapter_model.safetensors")
    with pytest.raises(UnsafeFile):
        validate(tmp_path, base, Limits())
    weights.unlink()
    os.mkfifo(weights)
    with pytest.raises(UnsafeFile):
        validate(tmp_path, base, Limits())
    weights.unlink()
    (tmp_path / "adapter_model.bin").write_bytes(b"\x80\x02.")
    with pytest.raises(UnsafeFile, match="pickled"):
        validate(tmp_path, base, Limits())


def test_every_error_has_a_code_of_its_own() -> None:
    classes = [
        item
        for item in vars(adapters.errors).values()
        if isinstance(item, type) and issubclass(item, adapters.errors.AdapterError)
    ]
    codes = [cls.code for cls in classes]
    assert len(set(codes)) == len(codes)
    drawn = adapters.errors.__doc__ or ""
    assert all(cls.__name__ in drawn for cls in classes)


def test_uploads_have_unlike_names(good_folder: Path) -> None:
    names = [upload.name for upload in broken_uploads(good_folder)]
    assert len(set(names)) == len(names)
    assert all(isinstance(upload, BrokenUpload) for upload in broken_uploads(good_folder))
