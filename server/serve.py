"""From settings to a listening server: check, prepare, start the engine, build the app, serve.

What can fail fast is tried first, so that a wrong flag is told before the engine takes its time.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from filelock import FileLock, Timeout

from adapters.base_model import read_base_model
from adapters.registry import AdapterRegistry
from router.config import DEFAULT_POLICIES, load_policies
from router.encoders import make_encoder
from router.index import CentroidIndex
from router.policies import PolicyConfig
from router.router import Router
from server.app import create_app, upload_limits
from server.engine.embed import EmbeddedEngine
from server.engine.errors import EngineStartError
from server.errors import InvalidSettings
from server.prepare import base_model_path, cache_dir, encoder_path, prepare
from server.routes.state import Parts
from server.settings import Settings

logger = logging.getLogger(__name__)

DRAIN_S = 15
"""How long running answers may go on after Ctrl-C, in seconds."""

_WATCH_S = 0.5


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the models come from.

    Attributes:
        model: folder of the base model.
        model_name: its name on the wire.
        encoder: folder or hub name of the encoder.
        hub: whether a hub may be asked.
    """

    model: Path
    model_name: str
    encoder: str
    hub: bool


def run(
    settings: Settings, announce: Callable[[str, Parts], None] = lambda url, parts: None
) -> None:
    """Serve until Ctrl-C.

    Args:
        settings: what to serve.
        announce: called with the address once the server is ready.

    Raises:
        InvalidSettings: it cannot be served like this.
        PrepareError: the default models could not be prepared.
        EngineStartError: the engine did not start, or died while serving.
        AdapterError: the data folder or the base model cannot be used.
        RoutingError: the policies or the encoder cannot be used.
    """
    settings.check()
    policies = load_policies(settings.policies or DEFAULT_POLICIES)
    if settings.default_policy not in policies:
        raise InvalidSettings(
            f"there is no policy {settings.default_policy!r}, which is to be the default one"
        )
    with listening(settings) as listener, owned(settings.data_dir):
        sources = find_sources(settings)
        asyncio.run(_serve(settings, sources, policies, listener, announce))


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
def owned(data_dir: Path) -> Iterator[None]:
    """Keep every other server off the data folder.

    Raises:
        InvalidSettings: another one has it, or it cannot be written.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        lock = FileLock(data_dir / ".lock", timeout=0)
        lock.acquire()
    except Timeout:
        raise InvalidSettings(
            f"another server uses the data folder {data_dir}; give --data-dir another one"
        ) from None
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
    if not on_hub:
        # Read when a library of the hub is imported, and nothing has imported one yet.
        os.environ["HF_HUB_OFFLINE"] = "1"
    if model is None or encoder is None:
        prepare()
    folder = base_model_path() if model is None else Path(model).expanduser()
    if model is not None and model in on_hub:
        folder = _download(model)
    name = folder.resolve().name if model is None or model not in on_hub else model
    return Sources(folder, name, encoder or str(encoder_path()), bool(on_hub))


def _download(model: str) -> Path:
    """The local copy of a hub model."""
    if model.startswith(("/", ".", "~")):
        raise InvalidSettings(f"there is no folder {model}")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model, ignore_patterns=["*.bin", "*.pth", "*.gguf"]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        told = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InvalidSettings(
            f"{model!r} is no local folder, and the hub did not give it: {told}"
        ) from None


async def _serve(
    settings: Settings,
    sources: Sources,
    policies: dict[str, PolicyConfig],
    listener: socket.socket,
    announce: Callable[[str, Parts], None],
) -> None:
    name = settings.engine.served_model_name or sources.model_name
    base = read_base_model(sources.model, name)
    registry = AdapterRegistry(
        settings.data_dir, base, upload_limits(settings), lambda: frozenset(policies)
    )
    engine_settings = settings.engine.model_copy(
        update={"cache_dir": settings.engine.cache_dir or cache_dir()}
    )
    # The engine first: its processes are not to inherit the encoder's threads.
    engine = await EmbeddedEngine.start(engine_settings, sources.model, name, hub=sources.hub)
    try:
        encoder = make_encoder(sources.encoder, local_files_only=not sources.hub)
        router = Router(encoder, CentroidIndex(), policies, max_members=engine_settings.max_loras)
        app = await create_app(settings, engine, router, registry)
    except BaseException:
        await engine.shutdown()
        raise
    await _listen(app, settings, listener, announce)


async def _listen(
    app: FastAPI,
    settings: Settings,
    listener: socket.socket,
    announce: Callable[[str, Parts], None],
) -> None:
    parts: Parts = app.state.parts
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_level=settings.log_level,
            ws="none",
            server_header=False,
            timeout_graceful_shutdown=DRAIN_S,
        )
    )
    death = asyncio.create_task(_end_with_engine(server, parts.engine))
    greeting = asyncio.create_task(_greet(server, parts, listener, announce))
    try:
        await server.serve(sockets=[listener])
        if death.done() and death.result():
            raise EngineStartError("the engine has died; the log above says why")
    finally:
        for task in (death, greeting):
            task.cancel()
        await asyncio.gather(death, greeting, return_exceptions=True)


async def _end_with_engine(server: uvicorn.Server, engine: EmbeddedEngine) -> bool:
    """Stop the server if the engine dies; say whether it did."""
    while not server.should_exit:
        if engine.failed:
            server.should_exit = True
            return True
        await asyncio.sleep(_WATCH_S)
    return False


async def _greet(
    server: uvicorn.Server,
    parts: Parts,
    listener: socket.socket,
    announce: Callable[[str, Parts], None],
) -> None:
    while not (parts.ready and server.started):  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(_WATCH_S)
    host, port = listener.getsockname()[:2]
    announce(f"http://{f'[{host}]' if ':' in host else host}:{port}", parts)
