"""Of an archive two files of the shallowest adapter folder are taken, and nothing else counts."""

import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapters.archive import place_files, unpack_archive
from adapters.errors import (
    InvalidAdapter,
    MalformedFile,
    MissingFile,
    TooLarge,
    UnsafeArchive,
    UnsafeFile,
)
from adapters.limits import Limits
from tests.support import archives

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
Members = list[tuple[Any, bytes]]
Wrap = Callable[..., bytes]

ZIP = archives.zip_of
BOTH = pytest.mark.parametrize("wrap", [archives.zip_of, archives.tar_gz_of], ids=["zip", "tar"])


def adapter(folder: str = "", mark: bytes = b"wanted") -> Members:
    """Both files; what they hold is not an archive's business."""
    return [(folder + CONFIG, b"config " + mark), (folder + WEIGHTS, b"weights " + mark)]


def taken(content: bytes, folder: Path, limits: Limits | None = None) -> dict[str, bytes]:
    """What comes out of an archive."""
    folder.mkdir(exist_ok=True)
    unpack_archive(io.BytesIO(content), folder, limits or Limits())
    return {entry.name: entry.read_bytes() for entry in folder.iterdir()}


WANTED = {CONFIG: b"config wanted", WEIGHTS: b"weights wanted"}

BESIDE: dict[str, Members] = {
    "pickles of a trainer": [
        ("training_args.bin", b"\x80\x02x"),
        ("optimizer.pt", b"PK\x03\x04"),
        ("rng_state.pth", b"x"),
        ("scheduler.pt", b"x"),
    ],
    "checkpoints": [*adapter("checkpoint-69/", b"other"), *adapter("checkpoint-138/", b"other")],
    "a checkpoint with pickled weights": [
        ("checkpoint-69/adapter_config.json", b"x"),
        ("checkpoint-69/adapter_model.bin", b"x"),
    ],
    "weights twice, one of them pickled": [("adapter_model.bin", b"x")],
    "what DeepSpeed leaves": [
        ("checkpoint-69/global_step69/zero_pp_rank_0_mp_rank_00_optim_states.pt", b"x"),
        ("checkpoint-69/latest", b"global_step69"),
        ("checkpoint-69/zero_to_fp32.py", b"import os"),
    ],
    "hundreds of small files": [(f"runs/{number}/events", b"x") for number in range(700)],
    "files far below": [("/".join(["deep"] * 60) + "/file", b"x")],
    "an adapter far below": adapter("a/b/c/d/e/", b"other"),
    "half an adapter above none": [("x/adapter_config.json", b"x")],
    "names of every sort": [
        ("Icon\r", b"x"),
        ("ü\u202e", b"x"),
        ("12:30", b"x"),
        ("n" * 2000, b"x"),
    ],
    "a Mac's shadows": [("__MACOSX/._adapter_config.json", b"x"), (".DS_Store", b"x")],
}


@BOTH
@pytest.mark.parametrize("beside", BESIDE)
@pytest.mark.parametrize("top", ["", "./", "out/", "home/ann/out/"])
def test_what_lies_beside_is_not_judged(wrap: Wrap, beside: str, top: str, tmp_path: Path) -> None:
    around = [(top + name, content) for name, content in BESIDE[beside]]
    for number, members in enumerate((adapter(top) + around, around + adapter(top))):
        assert taken(wrap(members), tmp_path / str(number)) == WANTED


@BOTH
def test_the_shallowest_wins_wherever_it_stands_in_the_archive(wrap: Wrap, tmp_path: Path) -> None:
    members = [*adapter("a/b/", b"other"), *adapter("z/"), *adapter("a/b/c/", b"other")]
    assert taken(wrap(members), tmp_path / "a") == WANTED
    assert taken(wrap(list(reversed(members))), tmp_path / "b") == WANTED


@BOTH
def test_files_of_one_adapter_are_never_mixed_with_anothers(wrap: Wrap, tmp_path: Path) -> None:
    halves = [adapter("", b"other")[0], adapter("a/", b"other")[1], *adapter("b/c/")]
    assert taken(wrap(halves), tmp_path / "a") == WANTED
    with pytest.raises(MissingFile, match="different folders"):
        taken(wrap(halves[:2]), tmp_path / "b")


@BOTH
@pytest.mark.parametrize(
    "folders",
    [("a/", "b/"), ("checkpoint-69/", "checkpoint-138/"), ("x/a/", "y/b/"), ("x/a/", "x/b/")],
)
def test_two_side_by_side_are_a_clear_refusal(
    wrap: Wrap, folders: tuple[str, str], tmp_path: Path
) -> None:
    deeper = adapter("x/y/z/deeper/")
    members = [member for folder in folders for member in adapter(folder)] + deeper
    with pytest.raises(MalformedFile, match="2 adapters side by side") as caught:
        taken(wrap(members), tmp_path)
    assert all(folder.rstrip("/") in str(caught.value) for folder in folders)


@BOTH
@pytest.mark.parametrize(
    "name",
    [
        *("adapter_model.bin", "adapter_model.BIN", "adapter_model.Bin", "Adapter_Model.bin"),
        *("adapter_model.pt", "adapter_model.PTH", "adapter_model.ckpt", "adapter_model.pkl"),
    ],
)
def test_weights_that_are_pickled_are_refused_by_name(
    wrap: Wrap, name: str, tmp_path: Path
) -> None:
    members = [("out/" + CONFIG, b"x"), ("out/" + name, b"x"), *adapter("out/checkpoint-1/")]
    with pytest.raises(UnsafeFile, match="pickled"):
        taken(wrap(members), tmp_path)
    with pytest.raises(UnsafeFile, match="pickled"):
        place_files(io.BytesIO(), io.BytesIO(), tmp_path, Limits(), "C:\\out\\" + name)


@BOTH
def test_what_is_missing_is_named(wrap: Wrap, tmp_path: Path) -> None:
    for members, missing in (
        ([("README.md", b"x")], f"{CONFIG} and {WEIGHTS}"),
        (adapter()[:1], WEIGHTS),
        (adapter()[1:], CONFIG),
    ):
        with pytest.raises(MissingFile, match=f"lacks {missing}"):
            taken(wrap(members), tmp_path / missing)


@BOTH
@pytest.mark.parametrize(
    "name",
    [
        *("/evil", "//evil", "../evil", "a/../../evil", "a/..", "\\evil", "a\\..\\evil"),
        *("C:evil", "C:\\evil", "c:/evil", "Z:adapter_config.json"),
    ],
)
def test_a_name_that_leads_out_is_refused_wherever_it_stands(
    wrap: Wrap, name: str, tmp_path: Path
) -> None:
    with pytest.raises(UnsafeArchive):
        taken(wrap([*adapter(), (name, b"x")]), tmp_path)


@BOTH
def test_separators_of_windows_are_separators(wrap: Wrap, tmp_path: Path) -> None:
    assert taken(wrap(adapter("out\\run 1\\")), tmp_path) == WANTED


@BOTH
def test_a_wanted_file_that_comes_twice_is_refused(wrap: Wrap, tmp_path: Path) -> None:
    for again in ("out/" + CONFIG, "./out/" + CONFIG, "out//" + CONFIG, "out\\" + CONFIG):
        content = wrap([*adapter("out/"), ("#" * len(again), b"x")]) if wrap is ZIP else None
        if content is None:
            content = wrap([*adapter("out/"), (again, b"x")])
        with pytest.raises(UnsafeArchive, match="twice"):
            taken(content.replace(b"#" * len(again), again.encode()), tmp_path)


@BOTH
def test_the_number_of_entries_is_bounded(wrap: Wrap, tmp_path: Path) -> None:
    members = [*adapter(), *((f"f{number}", b"") for number in range(8))]
    assert taken(wrap(members), tmp_path / "a", Limits(max_archive_entries=10)) == WANTED
    with pytest.raises(TooLarge, match="more than 9 entries"):
        taken(wrap(members), tmp_path / "b", Limits(max_archive_entries=9))


@BOTH
def test_a_wanted_file_beyond_its_limit_is_refused(wrap: Wrap, tmp_path: Path) -> None:
    for name, limits in (
        (CONFIG, Limits(max_config_bytes=12)),
        (WEIGHTS, Limits(max_weights_bytes=13)),
    ):
        with pytest.raises(TooLarge, match=name):
            taken(wrap(adapter()), tmp_path / name, limits)


def test_what_a_tar_is_read_past_is_bounded_by_its_own_size(tmp_path: Path) -> None:
    limits = Limits(max_weights_bytes=1000, max_config_bytes=1000, max_ignored_bytes=30_000)
    optimiser = archives.tar_gz_of([("optimizer.pt", os.urandom(200_000)), *adapter()])
    assert taken(optimiser, tmp_path / "a", limits) == WANTED
    bomb = archives.tar_gz_of([("optimizer.pt", bytes(200_000)), *adapter()])
    with pytest.raises(TooLarge, match="unpacks to more than"):
        taken(bomb, tmp_path / "b", limits)


def test_a_zip_is_not_read_past_at_all(tmp_path: Path) -> None:
    limits = Limits(max_weights_bytes=1000, max_config_bytes=1000, max_ignored_bytes=0)
    bomb = archives.zip_of([("optimizer.pt", bytes(2_000_000)), *adapter()])
    assert taken(bomb, tmp_path, limits) == WANTED


KINDS = [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.BLKTYPE]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_plain_file_counts_in_a_tar_only_where_it_is_wanted(
    kind: bytes, tmp_path: Path
) -> None:
    beside = archives.tar_entry("latest", kind, "checkpoint-69")
    below = archives.tar_entry("checkpoint-69/" + WEIGHTS, kind, "/etc/passwd")
    members = [(beside, b""), (below, b""), *adapter()]
    assert taken(archives.tar_gz_of(members), tmp_path / "a") == WANTED
    wanted = archives.tar_entry(WEIGHTS, kind, "/etc/passwd")
    with pytest.raises(UnsafeArchive):
        taken(archives.tar_gz_of([adapter()[0], (wanted, b"")]), tmp_path / "b")


def sparse(name: str, form: str) -> tuple[tarfile.TarInfo, bytes]:
    """A sparse file: one byte of data, and a hole that it claims behind it."""
    if form == "gnu":
        info = tarfile.TarInfo(name)
        info.type = tarfile.GNUTYPE_SPARSE
        return info, b"x"
    info = tarfile.TarInfo("GNUSparseFile.0/" + name)
    size = str(2**40)
    info.pax_headers = {"GNU.sparse.name": name, "GNU.sparse.realsize": size}
    if form == "1.0":
        info.pax_headers |= {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
        return info, b"1\n0\n1\n".ljust(512, b"\0") + b"x"
    info.pax_headers |= {"GNU.sparse.map": "0,1", "GNU.sparse.size": size}
    return info, b"x"


@pytest.mark.parametrize("form", ["gnu", "0.1", "1.0"])
def test_a_sparse_file_is_refused_where_it_is_wanted(form: str, tmp_path: Path) -> None:
    with pytest.raises(UnsafeArchive, match="sparse"):
        taken(archives.tar_gz_of([adapter()[0], sparse(WEIGHTS, form)]), tmp_path / "a")
    if form != "gnu":
        members = [sparse("disk.img", form), *adapter()]
        assert taken(archives.tar_gz_of(members), tmp_path / "b") == WANTED


def test_entries_of_a_zip_that_hide_something_count_only_where_they_are_wanted(
    tmp_path: Path,
) -> None:
    link = archives.symlink_zip_entry("latest")
    assert taken(archives.zip_of([(link, b"/etc"), *adapter()]), tmp_path / "link") == WANTED
    encrypted = archives.encrypted_zip([("secret", b"x"), *adapter()])
    with pytest.raises(UnsafeArchive, match="encrypted"):
        taken(encrypted, tmp_path / "encrypted")
    odd = zipfile.ZipInfo("model.xz")
    odd.compress_type = zipfile.ZIP_LZMA
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(odd, b"x", zipfile.ZIP_LZMA)
        for name, content in adapter():
            archive.writestr(name, content)
    assert taken(buffer.getvalue(), tmp_path / "odd") == WANTED


@pytest.mark.parametrize("name", [CONFIG + "\0.txt", WEIGHTS + "\0", "out/" + CONFIG + "\0/x"])
def test_a_name_that_a_zip_cuts_short_at_a_nul_is_not_taken(name: str, tmp_path: Path) -> None:
    stand_in = name.replace("\0", "#")
    top = "out/" if name.startswith("out/") else ""
    kept = [member for member in adapter(top) if not name.startswith(member[0])]
    content = archives.zip_of([*kept, (stand_in, b"config wanted")])
    with pytest.raises(UnsafeArchive, match="unsafe name"):
        taken(content.replace(stand_in.encode(), name.encode()), tmp_path)


def with_zip64_directory(content: bytes) -> bytes:
    """The same archive, whose directory is found through the 64-bit extension."""
    end = content.rindex(b"PK\x05\x06")
    tail = content[end:]
    count, size, start = tail[10:12], tail[12:16], tail[16:20]
    wide = [int.from_bytes(field, "little").to_bytes(8, "little") for field in (count, size, start)]
    record = (
        b"PK\x06\x06"
        + (44).to_bytes(8, "little")
        + (45).to_bytes(2, "little") * 2
        + bytes(8)
        + wide[0] * 2
        + wide[1]
        + wide[2]
    )
    locator = b"PK\x06\x07" + bytes(4) + end.to_bytes(8, "little") + (1).to_bytes(4, "little")
    return content[:end] + record + locator + tail


def test_the_64_bit_extension_of_zip_is_refused(tmp_path: Path) -> None:
    content = with_zip64_directory(archives.zip_of(adapter()))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.namelist() == [CONFIG, WEIGHTS], "it is a good one"
    with pytest.raises(MalformedFile) as caught:
        taken(content, tmp_path)
    assert str(caught.value) == (
        "the .zip archive uses the 64-bit extension; pack a .tar.gz instead"
    )


def test_the_directory_of_a_zip_is_bounded_before_it_is_read(tmp_path: Path) -> None:
    content = archives.zip_of(adapter())
    size = int.from_bytes(content[-10:-6], "little")
    exact = Limits(max_directory_bytes=size)
    assert taken(content, tmp_path / "a", exact) == WANTED
    with pytest.raises(TooLarge, match=f"directory has {size} bytes"):
        taken(content, tmp_path / "b", Limits(max_directory_bytes=size - 1))


@BOTH
def test_damage_is_told_as_damage(wrap: Wrap, tmp_path: Path) -> None:
    content = bytearray(wrap([(CONFIG, b"x" * 100), (WEIGHTS, os.urandom(5000))]))
    content[len(content) // 2] ^= 0xFF
    with pytest.raises(InvalidAdapter) as caught:
        taken(bytes(content), tmp_path)
    assert caught.value.code == "adapter_malformed"
