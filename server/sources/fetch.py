"""Fetches an adapter from wherever its source says, into a folder, as an upload would lie there."""

from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import quote

import httpx

from adapters.archive import unpack_archive
from adapters.errors import MissingFile
from adapters.files import CONFIG_FILE, WEIGHTS_FILE, storage_errors
from adapters.limits import Limits
from server.errors import SourceNotAllowed, SourceNotFound
from server.sources.address import (
    HTTPS_PORT,
    FileSource,
    HttpsSource,
    HubSource,
    S3Source,
    Source,
    parse_https,
)
from server.sources.allowed import check_allowed
from server.sources.download import Hops, Web, download, open_web
from server.sources.folder import Root, copy_adapter
from server.sources.progress import FetchProgress
from server.sources.s3 import fetch_objects
from server.sources.settings import SourceSettings


class Fetcher:
    """Fetches what the settings allow. Thread-safe.

    Args:
        settings: what is allowed.
        limits: bounds on what is fetched.
        web: how the web is reached; by the settings if None.

    Raises:
        InvalidSettings: the file of certificate authorities cannot be read.
    """

    def __init__(self, settings: SourceSettings, limits: Limits, web: Web | None = None) -> None:
        self._settings = settings
        self._limits = limits
        self._web = web or open_web(settings)

    @property
    def settings(self) -> SourceSettings:
        """What is allowed."""
        return self._settings

    def check(self, source: Source) -> None:
        """Let a source through that the settings list.

        Raises:
            SourceNotAllowed: they do not.
        """
        check_allowed(source, self._settings)

    def fetch(self, source: Source, stage: Path, progress: FetchProgress) -> Path:
        """Fetch an adapter; takes as long as it takes.

        Args:
            source: where it is.
            stage: an existing empty folder.
            progress: tells how far it is, and ends it.

        Returns:
            The folder with its two files.

        Raises:
            ServerError: the source does not have it, or may not be asked for it.
            InvalidAdapter: what it has is none.
        """
        self.check(source)
        folder = stage / "adapter"

        def unpack(archive: Path) -> None:
            progress.check()
            unpacked = stage / "unpacked"
            unpacked.mkdir()
            with archive.open("rb") as file:
                unpack_archive(file, unpacked, self._limits)
            archive.unlink()
            for name in (CONFIG_FILE, WEIGHTS_FILE):
                (unpacked / name).rename(folder / name)

        with storage_errors("fetch an adapter"):
            folder.mkdir()
            self._fetch(source, folder, progress, unpack)
        progress.check()
        return folder

    def _fetch(
        self, source: Source, folder: Path, progress: FetchProgress, unpack: Callable[[Path], None]
    ) -> None:
        match source:
            case HubSource():
                self._from_hub(source, folder, progress)
            case S3Source():
                options = _revealed(self._settings)
                fetch_objects(source, folder, options, self._limits, progress, unpack)
            case HttpsSource():
                archive = folder / "archive"
                hops = Hops(self._settings.https, self._settings.https_ports)
                most = self._limits.max_weights_bytes
                download(source.url, archive, most, self._web, hops, progress)
                unpack(archive)
            case FileSource():
                if self._settings.file is None:
                    raise SourceNotAllowed(
                        "file:// is not allowed on this server; the setting sources.file allows it",
                        param="source",
                    )
                root, path = Root(self._settings.file), Path(source.path)
                copy_adapter(root, path, folder, self._limits, progress, unpack)

    def _from_hub(self, source: HubSource, folder: Path, progress: FetchProgress) -> None:
        """The two files of a commit; nothing else of a repository is ever asked for."""
        token = self._settings.hf_token
        secret = {} if token is None else {"Authorization": f"Bearer {token.get_secret_value()}"}
        hops = Hops(self._settings.hf_hosts, (HTTPS_PORT,), secret)
        sizes = {
            CONFIG_FILE: self._limits.max_config_bytes,
            WEIGHTS_FILE: self._limits.max_weights_bytes,
        }
        for name, most in sizes.items():
            try:
                url = self._on_hub(source, name)
                download(url, folder / name, most, self._web, hops, progress)
            except SourceNotFound:
                if name == WEIGHTS_FILE:
                    raise MissingFile(
                        f"{name} is missing; only safetensors are taken from a hub"
                    ) from None
                raise

    def _on_hub(self, source: HubSource, name: str) -> httpx.URL:
        path = "/".join(filter(None, (source.folder, name)))
        return parse_https(
            f"{self._settings.hf_endpoint}/{source.repository}/resolve/{source.commit}/"
            f"{quote(path)}"
        )


def _revealed(settings: SourceSettings) -> Mapping[str, str]:
    return {name: value.get_secret_value() for name, value in settings.s3_options.items()}
