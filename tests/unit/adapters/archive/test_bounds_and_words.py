"""An archive's bounds hold to the byte, and a refusal says what is wrong and what would work."""

import gzip
import io
import os
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.archive import Unpacked, place_files, unpack_archive
from adapters.archive.members import Guarded, copy_bounded
from adapters.errors import (
    AdapterError,
    MalformedFile,
    MissingFile,
    StorageFailed,
    TooLarge,
    UnsafeArchive,
    UnsafeFile,
)
from adapters.limits import Limits
from tests.support import archives

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
ADAPTER = [(CONFIG, b"config"), (WEIGHTS, b"weights")]
WANTED = dict(ADAPTER)
Wrap = Callable[..., bytes]

ZIP, TAR = archives.zip_of, archives.tar_gz_of
BOTH = pytest.mark.parametrize("wrap", [ZIP, TAR], ids=["zip", "tar"])


def taken(content: bytes, folder: Path, limits: Limits | None = None) -> dict[str, bytes]:
    """What comes out of an archive."""
    folder.mkdir(exist_ok=True)
    unpack_archive(io.BytesIO(content), folder, limits or Limits())
    return {entry.name: entry.read_bytes() for entry in folder.iterdir()}


def refusal(
    kind: type[AdapterError], content: bytes, folder: Path, limits: Limits | None = None
) -> str:
    """The words of an archive's refusal."""
    with pytest.raises(kind) as caught:
        taken(content, folder, limits)
    return str(caught.value)


def folder_entry(wrap: Wrap, name: str) -> tuple[zipfile.ZipInfo | tarfile.TarInfo, bytes]:
    """An entry that is a folder."""
    if wrap is ZIP:
        return zipfile.ZipInfo(name + "/"), b""
    return archives.tar_entry(name, tarfile.DIRTYPE), b""


@BOTH
def test_what_became_of_an_archive_is_told(wrap: Wrap, tmp_path: Path) -> None:
    members = [folder_entry(wrap, "out"), ("out/README.md", b"x"), *ADAPTER]
    unpacked = unpack_archive(io.BytesIO(wrap(members)), tmp_path, Limits())
    assert unpacked == Unpacked(tmp_path, ignored=2)


def test_bare_files_are_placed_up_to_their_limits(tmp_path: Path) -> None:
    limits = Limits(max_config_bytes=6, max_weights_bytes=7)

    def placed(config: bytes, weights: bytes) -> Unpacked:
        folder = tmp_path / str(len(config) + len(weights))
        folder.mkdir()
        files = (io.BytesIO(content) for content in (config, weights))
        return place_files(*files, folder, limits, "w.safetensors")

    unpacked = placed(b"config", b"weights")
    assert unpacked == Unpacked(tmp_path / "13", ignored=0)
    assert (unpacked.folder / CONFIG).read_bytes() == b"config"
    assert (unpacked.folder / WEIGHTS).read_bytes() == b"weights"
    with pytest.raises(TooLarge, match=rf"^{CONFIG} is larger than 6 bytes$"):
        placed(b"config ", b"weights")
    with pytest.raises(TooLarge, match=rf"^{WEIGHTS} is larger than 7 bytes$"):
        placed(b"config", b"weights  ")


def test_a_bare_pickle_is_refused_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(UnsafeFile) as caught:
        place_files(io.BytesIO(), io.BytesIO(), tmp_path, Limits(), "out/model.BIN")
    assert str(caught.value) == (
        "'model.BIN' is a pickled file, which can run code when loaded; upload "
        "adapter_model.safetensors"
    )


def test_what_is_no_archive_is_told(tmp_path: Path) -> None:
    for content in (b"", b"PK", b"PK\x01\x02" + bytes(90), b"\x1f", b"{}"):
        assert refusal(MalformedFile, content, tmp_path) == (
            "the archive is neither a .zip nor a .tar.gz file"
        )


@BOTH
def test_files_of_exactly_their_limits_are_taken(wrap: Wrap, tmp_path: Path) -> None:
    exact = Limits(max_config_bytes=6, max_weights_bytes=7)
    assert taken(wrap(ADAPTER), tmp_path / "a", exact) == WANTED
    for name, limits in (
        (CONFIG, Limits(max_config_bytes=5)),
        (WEIGHTS, Limits(max_weights_bytes=6)),
    ):
        words = refusal(TooLarge, wrap(ADAPTER), tmp_path / name, limits)
        assert words == f"{name} is larger than {5 if name == CONFIG else 6} bytes"
        assert not list((tmp_path / name).iterdir()), "it is told before anything is written"


@BOTH
def test_folders_of_an_archive_count_and_may_not_lead_out(wrap: Wrap, tmp_path: Path) -> None:
    members = [folder_entry(wrap, "a"), folder_entry(wrap, "a/b"), *ADAPTER]
    assert taken(wrap(members), tmp_path / "a", Limits(max_archive_entries=4)) == WANTED
    assert refusal(TooLarge, wrap(members), tmp_path / "b", Limits(max_archive_entries=3)) == (
        "the archive has more than 3 entries; pack only the adapter's two files"
    )
    members = [*ADAPTER, folder_entry(wrap, "a/../..")]
    assert refusal(UnsafeArchive, wrap(members), tmp_path / "c").startswith("the name 'a/../..")


@BOTH
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("/evil", "the archive holds the unsafe name '/evil'"),
        ("C:evil", "the archive holds the unsafe name 'C:evil'"),
        ("a/../evil", "the name 'a/../evil' climbs out of the archive's folder"),
    ],
)
def test_a_name_that_leads_out_is_told(wrap: Wrap, name: str, words: str, tmp_path: Path) -> None:
    assert refusal(UnsafeArchive, wrap([*ADAPTER, (name, b"")]), tmp_path) == words


@BOTH
def test_four_of_many_adapters_side_by_side_are_named(wrap: Wrap, tmp_path: Path) -> None:
    members = [(f"{folder}/{name}", content) for folder in "ecabd" for name, content in ADAPTER]
    assert refusal(MalformedFile, wrap(members), tmp_path) == (
        "the archive holds 5 adapters side by side ('a', 'b', 'c', 'd'); pack one adapter at a time"
    )


@BOTH
def test_what_an_archive_lacks_is_told(wrap: Wrap, tmp_path: Path) -> None:
    assert refusal(MissingFile, wrap([("x", b"")]), tmp_path) == (
        f"the archive lacks {CONFIG} and {WEIGHTS}"
    )
    apart = [("a/" + CONFIG, b""), ("b/" + WEIGHTS, b"")]
    assert refusal(MissingFile, wrap(apart), tmp_path) == (
        f"the archive has {CONFIG} and {WEIGHTS} in different folders; put them into one"
    )
    pickled = [(CONFIG, b""), ("adapter_model.bin", b"")]
    assert refusal(UnsafeFile, wrap(pickled), tmp_path) == (
        "the archive holds the adapter's weights as a pickled file, which can run code when "
        f"loaded; save them as {WEIGHTS}"
    )


@BOTH
@pytest.mark.parametrize("name", ["optimizer.pt", "adapter_model.txt", "adapter_model"])
def test_another_file_of_pytorch_and_another_of_the_name_are_no_weights(
    wrap: Wrap, name: str, tmp_path: Path
) -> None:
    members = [ADAPTER[0], (name, b"")]
    assert refusal(MissingFile, wrap(members), tmp_path) == f"the archive lacks {WEIGHTS}"


@BOTH
def test_what_is_wrong_with_half_an_adapter_is_told_before_what_it_lacks(
    wrap: Wrap, tmp_path: Path
) -> None:
    words = refusal(TooLarge, wrap(ADAPTER[:1]), tmp_path, Limits(max_config_bytes=5))
    assert words == f"{CONFIG} is larger than 5 bytes"


@BOTH
def test_a_file_that_comes_twice_is_named(wrap: Wrap, tmp_path: Path) -> None:
    members = [*ADAPTER, ("./" + CONFIG, b"")]
    assert refusal(UnsafeArchive, wrap(members), tmp_path) == f"the archive holds '{CONFIG}' twice"


class Recorder(io.BytesIO):
    """Writes down how much is asked for."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.sizes: list[int | None] = []

    def read(self, size: int | None = -1, /) -> bytes:
        self.sizes.append(size)
        return super().read(size)


def test_a_file_is_copied_in_pieces_and_no_further_than_its_limit(tmp_path: Path) -> None:
    content = os.urandom(3 * 2**20)
    source = Recorder(content)
    copy_bounded(Guarded(source, CONFIG, ()), tmp_path / "a", len(content))
    assert (tmp_path / "a").read_bytes() == content
    assert set(source.sizes) == {2**20}
    source = Recorder(content)
    with pytest.raises(TooLarge):
        copy_bounded(source, tmp_path / "b", 10)
    assert source.tell() == 2**20


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(StorageFailed, match=r"^could not keep an upload: File exists$"):
        copy_bounded(io.BytesIO(b"new"), tmp_path / "a", 10)
    assert (tmp_path / "a").read_bytes() == b"old"


def test_what_a_tar_may_unpack_to_is_told_and_holds_to_the_byte(tmp_path: Path) -> None:
    content = TAR([("big", bytes(100_000)), *ADAPTER])
    plain = len(gzip.decompress(content))
    ratio, config, weights = 3, 100, 1000
    ignored = plain - ratio * len(content) - config - weights

    def limits(max_ignored_bytes: int) -> Limits:
        return Limits(
            max_ignored_bytes=max_ignored_bytes,
            max_ignored_ratio=ratio,
            max_config_bytes=config,
            max_weights_bytes=weights,
        )

    assert taken(content, tmp_path / "a", limits(ignored)) == WANTED
    assert refusal(TooLarge, content, tmp_path / "b", limits(ignored - 1)) == (
        f"the archive unpacks to more than {plain - 1} bytes"
    )


def test_what_follows_a_tar_is_read_in_pieces(tmp_path: Path) -> None:
    behind = bytes(2**25)
    content = gzip.compress(gzip.decompress(TAR(ADAPTER)) + behind, 1)
    tracemalloc.start()
    try:
        assert taken(content, tmp_path) == WANTED
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < len(behind) / 2


def tar_with_comment(size: int) -> bytes:
    """An archive whose extended header has so many bytes: ``SIZE comment=xx…\\n``."""
    around = len(str(size)) + len(" comment=\n")
    info = tarfile.TarInfo("README.md")
    info.pax_headers = {"comment": "x" * (size - around)}
    return TAR([(info, b""), *ADAPTER])


def test_an_extended_header_of_a_tar_is_bounded(tmp_path: Path) -> None:
    assert taken(tar_with_comment(2**16), tmp_path / "a") == WANTED
    assert refusal(TooLarge, tar_with_comment(2**16 + 1), tmp_path / "b") == (
        "the archive has an extended header of absurd size"
    )


def test_a_wanted_link_of_a_tar_is_told(tmp_path: Path) -> None:
    link = archives.tar_entry(WEIGHTS, tarfile.SYMTYPE, "/etc/passwd")
    assert refusal(UnsafeArchive, TAR([ADAPTER[0], (link, b"")]), tmp_path) == (
        f"'{WEIGHTS}' is a link, a device or a sparse file"
    )


def test_a_tar_with_a_wrong_checksum_is_damaged(tmp_path: Path) -> None:
    content = bytearray(TAR(ADAPTER))
    content[-8] ^= 1
    assert refusal(MalformedFile, bytes(content), tmp_path) == (
        "the .tar.gz archive is damaged or truncated"
    )


def with_comment(content: bytes, size: int) -> bytes:
    """The same zip with a comment of so many bytes at its end."""
    return content[:-2] + size.to_bytes(2, "little") + b"x" * size


@pytest.mark.parametrize("size", [0, 1, 2**16 - 1])
@pytest.mark.parametrize("content", [b"", os.urandom(2**17)], ids=["small", "large"])
def test_a_zip_may_have_a_comment(size: int, content: bytes, tmp_path: Path) -> None:
    archive = ZIP([("beside", content), *ADAPTER])
    assert taken(with_comment(archive, size), tmp_path) == WANTED


def test_a_zip_without_its_end_is_truncated(tmp_path: Path) -> None:
    content = ZIP(ADAPTER)
    for cut in (1, 21, 22, 23, len(content) - 4):
        assert refusal(MalformedFile, content[:-cut], tmp_path) == (
            "the .zip archive is truncated: it has no directory at its end"
        )


def test_a_zip_whose_directory_is_another_is_damaged(tmp_path: Path) -> None:
    content = ZIP(ADAPTER)
    broken = content.replace(b"PK\x01\x02", b"PK\x01\x03")
    assert refusal(MalformedFile, broken, tmp_path) == (
        "the .zip archive is damaged: its directory is unreadable"
    )


def zip_entry(
    name: str, *, attributes: int = 0, method: int = zipfile.ZIP_DEFLATED
) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = attributes
    info.compress_type = method
    return info


def zip_with(info: zipfile.ZipInfo) -> bytes:
    """An archive of a config and an entry that keeps its own method."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(*ADAPTER[0])
        archive.writestr(info, b"weights")
    return buffer.getvalue()


@pytest.mark.parametrize("mode", [0o100644, 0o100600, 0o644, 0])
def test_a_plain_entry_of_a_zip_is_taken_whatever_its_mode(mode: int, tmp_path: Path) -> None:
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        content = zip_with(zip_entry(WEIGHTS, attributes=mode << 16, method=method))
        assert taken(content, tmp_path / str(method)) == WANTED


@pytest.mark.parametrize("mode", [0o120777, 0o020644, 0o010644, 0o060644, 0o140755])
def test_a_wanted_entry_of_a_zip_that_is_no_plain_file_is_told(mode: int, tmp_path: Path) -> None:
    content = zip_with(zip_entry(WEIGHTS, attributes=mode << 16))
    assert refusal(UnsafeArchive, content, tmp_path) == f"'{WEIGHTS}' is a link or a device"


def test_a_wanted_entry_of_a_zip_in_an_odd_form_is_told(tmp_path: Path) -> None:
    assert refusal(UnsafeArchive, archives.encrypted_zip(ADAPTER), tmp_path) == (
        f"'{CONFIG}' is encrypted; upload a plain archive"
    )
    content = zip_with(zip_entry(WEIGHTS, method=zipfile.ZIP_LZMA))
    assert refusal(MalformedFile, content, tmp_path) == (
        f"'{WEIGHTS}' is compressed by an unusual method; use deflate"
    )


def test_a_damaged_entry_of_a_zip_is_named(tmp_path: Path) -> None:
    content = ZIP(ADAPTER)
    at = content.index(b"PK\x03\x04", 1)
    words = f"{WEIGHTS} in the archive is damaged"
    header = content[: at + 3] + b"\x00" + content[at + 4 :]
    assert refusal(MalformedFile, header, tmp_path / "header") == words
    checksum = content.rindex(b"PK\x01\x02") + 16
    wrong = content[:checksum] + bytes([content[checksum] ^ 1]) + content[checksum + 1 :]
    assert refusal(MalformedFile, wrong, tmp_path / "content") == words


def test_words_of_the_bounds_of_a_zip(tmp_path: Path) -> None:
    content = ZIP(ADAPTER)
    size = int.from_bytes(content[-10:-6], "little")
    assert refusal(TooLarge, content, tmp_path, Limits(max_directory_bytes=size - 1)) == (
        f"the archive's directory has {size} bytes; pack only the adapter's two files"
    )


@BOTH
def test_a_folder_that_is_called_like_a_file_is_none(wrap: Wrap, tmp_path: Path) -> None:
    members = [ADAPTER[0], folder_entry(wrap, WEIGHTS)]
    assert refusal(MissingFile, wrap(members), tmp_path) == f"the archive lacks {WEIGHTS}"


def test_a_name_that_a_zip_cuts_short_is_told_whole(tmp_path: Path) -> None:
    content = ZIP([*ADAPTER[1:], (CONFIG + "#x", b"")]).replace(b"#", b"\0")
    assert refusal(UnsafeArchive, content, tmp_path) == (
        f"the archive holds the unsafe name '{CONFIG}\\x00x'"
    )


def test_of_a_large_zip_the_end_and_the_wanted_files_are_read(tmp_path: Path) -> None:
    class Counted(io.BytesIO):
        count = 0

        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(size)
            self.count += len(data)
            return data

    source = Counted(ZIP([("beside", os.urandom(2**20)), *ADAPTER]))
    unpack_archive(source, tmp_path, Limits())
    assert source.count < 2**18


def test_an_empty_zip_is_an_archive_that_lacks_all(tmp_path: Path) -> None:
    assert refusal(MissingFile, ZIP([]), tmp_path) == f"the archive lacks {CONFIG} and {WEIGHTS}"


def test_the_last_end_of_a_zip_counts(tmp_path: Path) -> None:
    """What looks like one may lie in a file that is packed as it is."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in [("beside", b"PK\x05\x06" + b"\xff" * 40), *ADAPTER]:
            archive.writestr(name, content)
    assert taken(buffer.getvalue(), tmp_path) == WANTED
