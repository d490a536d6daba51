"""The manifest of a prepared folder: a digest of each file, so that damage is seen on start."""

import hashlib
import json
from pathlib import Path

FILE_NAME = "loralloy-manifest.json"


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(folder: Path, source: str) -> None:
    """Record the digest of every file under ``folder``, and the package that it came from."""
    files = {
        path.relative_to(folder).as_posix(): sha256_of(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    text = json.dumps({"source": source, "files": files}, indent=2)
    (folder / FILE_NAME).write_text(text + "\n", encoding="utf-8")


def is_whole(folder: Path, source: str) -> bool:
    """True if ``folder`` was made from ``source`` and each of its files is as it was then."""
    try:
        manifest = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
        return manifest["source"] == source and all(
            sha256_of(folder / name) == digest for name, digest in manifest["files"].items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
