"""An adapter's folder or archive as a form: which field holds what, and what counts more."""

import json
from pathlib import Path

import pytest

from adapters.errors import InvalidRouting, MissingFile
from adapters.upload_form import adapter_files, routing_document, upload_form


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.safetensors").write_bytes(b"w")
    beside = {"examples": ["a", "b"], "description": "old", "centroids": [], "digest": "x"}
    (folder / "router.json").write_text(json.dumps(beside))
    return folder


def test_a_folder_is_sent_with_its_routing_data(folder: Path) -> None:
    form = upload_form(folder, {"name": "mine", "description": None})
    assert form.texts == {"name": "mine", "examples": '["a", "b"]', "description": "old"}
    assert form.files == {
        "config": folder / "adapter_config.json",
        "file": folder / "adapter_model.safetensors",
    }


def test_what_is_given_counts_more(folder: Path, tmp_path: Path) -> None:
    examples = tmp_path / "examples.txt"
    form = upload_form(folder, {"description": "new"}, examples)
    assert form.texts == {"description": "new"}
    assert form.files["examples"] == examples
    assert upload_form(folder, {"description": ""}).texts["description"] == ""


def test_an_archive_is_sent_whole_and_alone(tmp_path: Path) -> None:
    archive = tmp_path / "adapter.zip"
    archive.write_bytes(b"PK")
    assert upload_form(archive, {"name": "mine"}).files == {"archive": archive}


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_folder_needs_both_files(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(MissingFile, match=f"has no {name}; is it a PEFT adapter's folder"):
        adapter_files(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"[1]", "must hold a JSON object"), (b"{", "not valid JSON"), (b"\xff", "not valid JSON")],
)
def test_routing_data_that_cannot_be_read(folder: Path, content: bytes, message: str) -> None:
    (folder / "router.json").write_bytes(content)
    with pytest.raises(InvalidRouting, match=message):
        upload_form(folder, {})
    with pytest.raises(InvalidRouting, match=message):
        routing_document(folder / "router.json")
