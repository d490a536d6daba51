"""From settings to a server: whatever can fail fast is tried here, before anything slow begins.

A wrong flag, a taken port or a faulty policy is refused at once; only then the engine's libraries
are imported and it takes its time (:mod:`server.start.launch`).
"""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from router.policies.config import DEFAULT_POLICIES, load_policies
from server.engine import forkserver
from server.engine.environment import set_environment
from server.errors import InvalidSettings
from server.prepare import cache_dir
from server.settings import Settings
from server.start.models import check_encoders, find_sources, names_on_hub

if TYPE_CHECKING:
    from server.start.launch import Announce


def run(settings: Settings, announce: "Announce" = lambda url, parts: None) -> None:
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
            f"default_policy is {settings.default_policy!r}, but there is no such policy; "
            f"there are {', '.join(sorted(policies))}"
        )
    with listening(settings) as listener, owned(settings.data_dir):
        engine = settings.engine
        engine = engine.model_copy(update={"cache_dir": engine.cache_dir or cache_dir()})
        settings = settings.model_copy(update={"engine": engine})
        set_environment(engine, settings.structured_outputs, hub=bool(names_on_hub(settings)))
        forkserver.start()
        sources = find_sources(settings)
        check_encoders(policies, sources)
        from server.start.launch import launch

        asyncio.run(launch(settings, sources, policies, listener, announce))


def check(settings: Settings) -> None:
    """Refuse settings that are each valid and together unsafe.

    Raises:
        InvalidSettings: another machine could reach a server without keys.
        StorageFailed: the database, which may have a key, cannot be opened.
    """

    def has_stored_key() -> bool:
        from server.start import access

        return access.has_stored_key(settings)

    settings.check(has_stored_key)


@contextmanager
def listening(settings: Settings) -> Iterator[socket.socket]:
    """A socket bound to the address, before anything slow begins.

    Raises:
        InvalidSettings: nothing can listen on the address.
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
        taken: the message if another one has it; ``{}`` stands for the folder.

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
