"""From settings to a server: whatever can fail fast is tried here, before anything slow begins.

A wrong flag, a taken port or a faulty policy is told at once; only then the engine's libraries are
imported and it takes its time (:mod:`server.start.launch`).
"""

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from router.errors import NoStaticEncoder
from router.policies import PolicyConfig
from router.policies.config import DEFAULT_POLICIES, load_policies
from server.errors import InvalidSettings
from server.prepare import base_model_path, encoder_path, prepare
from server.settings import Settings

if TYPE_CHECKING:
    from server.routes.parts import Parts

Announce = Callable[[str, "Parts"], None]
"""Called with the address once the server is ready."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the models come from.

    Attributes:
        model: folder of the base model.
        model_name: its name on the wire.
        encoder: folder or hub name of the encoder.
        static_encoder: folder or name of the static encoder for the base model, if there is one.
        hub: whether a hub may be asked.
    """

    model: Path
    model_name: str
    encoder: str
    static_encoder: str | None
    hub: bool


def run(settings: Settings, announce: Announce = lambda url, parts: None) -> None:
    """Serve until Ctrl-C.

    Raises:
        InvalidSettings: it cannot be served like this.
        PrepareError: the default models could not be prepared.
        EngineStartError: the engine did not start, or died while serving.
        AdapterError: the data folder or the base model cannot be used.
        RoutingError: the policies or the encoder cannot be used.
    """
    check(settings)
    policies = load_policies(settings.policies or DEFAULT_POLICIES)
    if settings.default_policy not in policies:
        raise InvalidSettings(
            f"there is no policy {settings.default_policy!r}, which is to be the default one"
        )
    with listening(settings) as listener, owned(settings.data_dir):
        sources = find_sources(settings)
        _check_encoders(policies, sources)
        from server.start.launch import launch

        asyncio.run(launch(settings, sources, policies, listener, announce))


def check(settings: Settings) -> None:
    """Refuse settings that are each valid and together unsafe.

    Raises:
        InvalidSettings: another machine could reach a server without keys.
        StorageFailed: the database, which may have a key, cannot be opened.
    """

    def has_stored_key() -> bool:
        from server.access import access

        return access.has_stored_key(settings)

    settings.check(has_stored_key)


@contextmanager
def listening(settings: Settings) -> Iterator[socket.socket]:
    """A socket bound to the address, before anything slow begins.

    Raises:
        InvalidSettings: the address cannot be had.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM
        )[0]
        listener = socket.socket(family, kind)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise InvalidSettings(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror or error}; "
            "--port picks another port"
        ) from None
    with listener:
        yield listener


@contextmanager
def owned(
    data_dir: Path,
    taken: str = "another server uses the data folder {}; give --data-dir another one",
) -> Iterator[None]:
    """Keep every other server off the data folder.

    Args:
        data_dir: made if absent.
        taken: what to say if another one has it; its place is filled with the folder.

    Raises:
        InvalidSettings: another one has it, or it cannot be written.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        lock = FileLock(data_dir / ".lock", timeout=0)
        lock.acquire()
    except Timeout:
        raise InvalidSettings(taken.format(data_dir)) from None
    except OSError as error:
        raise InvalidSettings(
            f"the data folder {data_dir} cannot be used: {error.strerror or error}"
        ) from None
    try:
        yield
    finally:
        lock.release()


def find_sources(settings: Settings) -> Sources:
    """Find the base model and the encoder; prepare the defaults that are asked for.

    Raises:
        PrepareError: a default could not be prepared.
        InvalidSettings: a named model is neither a folder nor on a hub.
    """
    model, encoder = settings.engine.model, settings.encoder
    on_hub = [name for name in (model, encoder) if name and not Path(name).expanduser().is_dir()]
    for name in on_hub:
        if name.startswith(("/", ".", "~")):
            raise InvalidSettings(f"there is no folder {name}")
    if not on_hub:
        # Read when a library of the hub is imported, and nothing has imported one yet.
        os.environ["HF_HUB_OFFLINE"] = "1"
    if model is None or encoder is None:
        prepare()
    folder = base_model_path() if model is None else Path(model).expanduser()
    if model is not None and model in on_hub:
        folder = _download(model)
    name = folder.absolute().name if model is None or model not in on_hub else model
    from router.encoders.static import bundled_for

    static = settings.static_encoder
    return Sources(
        model=folder,
        model_name=name,
        encoder=encoder or str(encoder_path()),
        static_encoder=str(static) if static is not None else bundled_for(folder),
        hub=bool(on_hub),
    )


def _check_encoders(policies: dict[str, PolicyConfig], sources: Sources) -> None:
    """Refuse now what the router would refuse once the engine has started."""
    for name, policy in policies.items():
        if policy.encoder == "static" and sources.static_encoder is None:
            raise NoStaticEncoder(name, Path(sources.encoder).name)


def _download(model: str) -> Path:
    """The local copy of a hub model."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model, ignore_patterns=["*.bin", "*.pth", "*.gguf"]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        told = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InvalidSettings(
            f"{model!r} is no local folder, and the hub did not give it: {told}"
        ) from None
