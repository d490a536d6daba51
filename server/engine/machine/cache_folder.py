"""A folder for what is compiled: the one that is asked for, or a temporary one in its place."""

import atexit
import logging
import shutil
import tempfile
from functools import cache
from pathlib import Path

logger = logging.getLogger(__name__)


def cache_folder(chosen: Path | None) -> Path:
    """Where what is compiled is kept between starts, unless another folder is chosen."""
    return chosen or Path.home() / ".cache" / "loralloy"


@cache
def usable(folder: Path) -> Path:
    """A folder that can be written to: this one, made if need be, or else a temporary one.

    The temporary one belongs to this user alone and goes when the process ends.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        instead = Path(tempfile.mkdtemp(prefix="loralloy-"))
        atexit.register(shutil.rmtree, instead, ignore_errors=True)
        logger.warning(
            "nothing can be written to the cache folder %s (%s): what is compiled is kept in %s, "
            "and compiled again at the next start",
            folder,
            error.strerror or error,
            instead,
        )
        return instead
