"""The slow part of a start: the engine, the encoder, the app; then uvicorn until the end."""

import asyncio
import gc
import logging
import socket
from collections.abc import Awaitable, Callable
from functools import partial

import uvicorn
from fastapi import FastAPI

from adapters.registry.registry import AdapterRegistry
from adapters.registry.storage import open_storage
from adapters.validation.base_model import read_base_model
from router.centroids.index import CentroidIndex
from router.encoders import make_encoder
from router.encoders.static import StaticEncoder
from router.policies import PolicyConfig
from router.router import Router
from router.threads import one_thread
from server.app import create_app, upload_limits
from server.engine.compile_ahead import compile_ahead
from server.engine.engine import EmbeddedEngine
from server.engine.errors import EngineStartError
from server.policies.registry import PolicyRegistry
from server.routes.parts import Parts
from server.settings import Settings
from server.start.access import open_access
from server.start.log_lines import make_safe, uvicorn_config
from server.start.models import ModelSources

logger = logging.getLogger(__name__)

Announce = Callable[[str, Parts], None]
"""Called with the address once the server is ready."""

DRAIN_S = 15
"""How long running answers may go on after Ctrl-C, in seconds."""

_POLL_S = 0.5


async def launch(
    settings: Settings,
    sources: ModelSources,
    policies: dict[str, PolicyConfig],
    listener: socket.socket,
    announce: Announce,
) -> None:
    """Serve until told to stop.

    Args:
        settings: what to serve; they name the cache folder.
        sources: the base model and the encoder.
        policies: by name.
        listener: the bound socket.
        announce: called once the server is ready.

    Raises:
        EngineStartError: the engine did not start, or died while serving.
        AdapterError: the data folder or the base model cannot be used.
        RoutingError: the encoder cannot be used.
    """
    one_thread()
    name = settings.engine.served_model_name or sources.model_name
    base = read_base_model(sources.model, name)
    storage = open_storage(settings.locations)
    access = open_access(settings, storage.database)
    policy_registry = PolicyRegistry(storage.database, policies)
    registry = AdapterRegistry(
        settings.data_dir,
        base,
        upload_limits(settings),
        lambda: policy_registry.names,
        storage,
    )
    engine_settings = settings.engine
    logger.info("starting the engine for %s: half a minute, longer the first time", name)
    # The engine first: its processes are not to inherit the encoder's threads.
    engine = await EmbeddedEngine.start(
        engine_settings, sources.model, name, settings.structured_outputs, hub=sources.hub
    )
    try:
        encoder = make_encoder(sources.encoder, local_files_only=not sources.hub)
        router = Router(
            encoder,
            CentroidIndex(),
            policies,
            max_members=engine_settings.max_loras,
            static=_static_encoder(sources),
        )
        await engine.load_encoders(sources.encoder, sources.static_encoder)
        app = await create_app(settings, engine, router, registry, access, policy_registry)
    except BaseException:
        await engine.shutdown()
        raise
    compiling = partial(compile_ahead, engine_settings, sources.model, name, hub=sources.hub)
    await _listen(app, settings, listener, announce, compiling)


def _static_encoder(sources: ModelSources) -> StaticEncoder | None:
    spec = sources.static_encoder
    return None if spec is None else StaticEncoder(spec, tokenizer=sources.model)


async def _listen(
    app: FastAPI,
    settings: Settings,
    listener: socket.socket,
    announce: Announce,
    compiling: Callable[[], Awaitable[None]],
) -> None:
    parts: Parts = app.state.parts
    make_safe("vllm")
    # What is there now stays to the end: to look through all of it for garbage, as a request with
    # many values makes Python do, would hold everybody up for half a second.
    gc.collect()
    gc.freeze()
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_level=settings.log_level,
            log_config=uvicorn_config(),
            ws="none",
            server_header=False,
            timeout_graceful_shutdown=DRAIN_S,
            # A request on a connection that was kept begins without the last one's context.
            reset_contextvars=True,
        )
    )
    death = asyncio.create_task(_end_with_engine(server, parts.engine))
    greeting = asyncio.create_task(_greet(server, parts, listener, announce, compiling))
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
        await asyncio.sleep(_POLL_S)
    return False


async def _greet(
    server: uvicorn.Server,
    parts: Parts,
    listener: socket.socket,
    announce: Announce,
    compiling: Callable[[], Awaitable[None]],
) -> None:
    """Say that the server is ready, once it is; then compile for the next start, if need be."""
    while not (parts.ready and server.started):  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(_POLL_S)
    host, port = listener.getsockname()[:2]
    announce(f"http://{f'[{host}]' if ':' in host else host}:{port}", parts)
    preparing = asyncio.create_task(parts.engine.prepare_compilations())
    try:
        if parts.engine.compiles_beside:
            await compiling()
        await preparing
    finally:
        preparing.cancel()
