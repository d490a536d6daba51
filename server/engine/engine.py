"""The embedded engine: vLLM inside the server's process group, with slots for adapters.

Life of an engine: ``start`` (compile the kernel, start the workers, prove by what they do that the
bank is live in every one), ``attach`` (vLLM's routes onto the app), ``load`` and ``unload`` of
adapters while it serves, ``shutdown``.
"""

import asyncio
import logging
import os
from argparse import Namespace
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from fastapi import FastAPI

from adapters.validation.base_model import BaseModelShapes, read_base_model
from server.engine.bank.kernels.build import KERNEL_VARIABLE, build
from server.engine.client import canary
from server.engine.client.parts import ClientParts
from server.engine.client.slots import Slots
from server.engine.client.token_count import OnTokens
from server.engine.client.usage import Usage
from server.engine.client.worker_policies import WorkerPolicies
from server.engine.compilation import Compilation, decide, is_compiled, note
from server.engine.environment import set_environment
from server.engine.errors import EngineLoadError, EngineStartError
from server.engine.machine.cache_folder import cache_folder, usable
from server.engine.machine.cores import listed
from server.engine.machine.device import why_not_here
from server.engine.machine.number_format import NumberFormat, available_bytes, number_format
from server.engine.messages import BankProof, LoadEncoders, WorkerReport
from server.engine.settings import EngineSettings
from server.engine.structured.compilations import Compilations, CompilerGone, ModelVocabulary
from server.engine.structured.settings import StructuredOutputSettings
from server.engine.trace_channel import TraceReceiver

logger = logging.getLogger(__name__)

_DEFAULTS = StructuredOutputSettings()

_GRACE_S = 0.5
"""How long the engine's process may tear itself down, in seconds. It keeps nothing that its end
could break, and what it would do is collect garbage, for longer than the 5 s that vLLM grants."""

_MOST_SHOWN = 5
"""Layers that an error names."""


def number_format_of(settings: EngineSettings, model: Path, base: BaseModelShapes) -> NumberFormat:
    """What the engine computes in with these settings, on this machine."""
    a_rank = sum(size_out + size_in for size_out, size_in in base.linears.values())
    slots = 4 * settings.max_loras * settings.max_lora_rank * a_rank * base.num_layers
    return number_format(settings.dtype, model, slots + settings.kv_cache_gib * 2**30)


class EmbeddedEngine:
    """A running engine. Make it with :meth:`start`.

    Attributes:
        model_name: the base model's name on the wire.
        model_path: the base model's folder.
        settings: what it was started with; ``dtype`` is what it computes in.
        number_format: that, with the reason.
        client: vLLM's client with mixtures.
        compiles_beside: whether the base model is to be compiled for the next start.
    """

    compiles_beside = False

    def __init__(
        self,
        client: Any,
        arguments: Namespace,
        settings: EngineSettings,
        model_path: Path,
        number_format: NumberFormat,
        structured: StructuredOutputSettings,
    ) -> None:
        self.model_name: str = arguments.served_model_name[0]
        self.model_path = model_path
        self.settings = settings
        self.number_format = number_format
        self.client = client
        self._arguments = arguments
        self._app: FastAPI | None = None
        self._usage = Usage()
        self._slots = Slots(client, settings.max_loras, self._usage)
        self._parts = ClientParts(
            adapter_ids=self._slots.ids,
            usage=self._usage,
            policies=WorkerPolicies(self._call),
            traces=TraceReceiver(),
            compilations=Compilations(
                ModelVocabulary(
                    str(model_path),
                    client.model_config.get_vocab_size(),
                    client.model_config.hf_config.model_type,
                ),
                structured,
            ),
            on_tokens=lambda weights, base_share, tokens: None,
        )
        client.attach(self._parts)
        self._report: WorkerReport | None = None

    @classmethod
    async def start(
        cls,
        settings: EngineSettings,
        model: Path,
        name: str,
        structured: StructuredOutputSettings = _DEFAULTS,
        *,
        hub: bool = False,
    ) -> Self:
        """Start the engine; returns when it can serve.

        Args:
            settings: the engine's settings.
            model: folder of the base model.
            name: its name on the wire, unless the settings give one.
            structured: what constraints of answers may ask for.
            hub: whether vLLM may ask a hub.

        Raises:
            EngineStartError: it did not start, or the bank is not live in every worker.
            UnsupportedBaseModel: the layers of the base model are not known.
        """
        cores = _available_cores(settings.threads)
        base = read_base_model(model, name)
        chosen = number_format_of(settings, model, base)
        settings = settings.model_copy(update={"dtype": chosen.name})
        logger.info("the engine computes in %s", chosen)
        _prepare_processes(settings, structured, hub=hub)
        # vLLM reads the environment when it is imported.
        from vllm.platforms import current_platform

        if reason := why_not_here(current_platform):
            raise EngineStartError(reason)

        cache = usable(cache_folder(settings.cache_dir))
        compilation = decide(settings, cache, model, available_bytes())
        compiles = compilation is Compilation.AT_START
        if compiles and not is_compiled(settings, cache, model):
            logger.info("compiling the base model for this machine: once, a few minutes")
        arguments, client = _launch(settings, model, name, compiles=compiles)
        engine = cls(client, arguments, settings, model, chosen, structured)
        engine.compiles_beside = compilation is Compilation.BESIDE
        try:
            if problems := await engine.prove(base) or await engine.probe():
                raise EngineStartError("the engine is not usable: " + "; ".join(problems))
            if compiles:
                note(settings, cache, model)
            if cores:
                await engine._call("loralloy_keep_to", (cores,))
        except BaseException:
            await engine.shutdown()
            raise
        return engine

    async def attach(self, app: FastAPI) -> None:
        """Attach vLLM's routes (chat, completions, responses, tokenise) and what they need."""
        from server.engine.vllm_serving import attach_routes, fill_state

        # The tokenise router reads the state while it is attached.
        await fill_state(self.client, app, self._arguments)
        attach_routes(app)
        self._app = app

    def set_models(self, names: Iterable[str]) -> None:
        """Set the names that vLLM's serving classes accept as ``model`` beside the base model's."""
        from vllm.lora.request import LoRARequest

        if self._app is None:
            raise RuntimeError("attach the engine to an app before naming its models")
        # The serving classes check names against this table and echo them; the engine client drops
        # the request objects, so that id and path have no meaning.
        self._app.state.openai_serving_models.lora_requests = {
            name: LoRARequest(lora_name=name, lora_int_id=1, lora_path="unused") for name in names
        }

    async def load(self, digest: str, folder: Path, waiting: int = 1) -> None:
        """Put an adapter into a free slot: see :meth:`Slots.load`."""
        await self._slots.load(digest, folder, waiting)

    async def unload(self, digest: str) -> None:
        """Free an adapter's slot once no running request uses it: see :meth:`Slots.unload`."""
        await self._slots.unload(digest)

    def tell_tokens(self, to: OnTokens) -> None:
        """Call ``to`` with what made the tokens of each answer from now on."""
        self._parts = replace(self._parts, on_tokens=to)
        self.client.attach(self._parts)

    async def load_encoders(self, encoder: str, static: str | None = None) -> None:
        """Name the encoders by which running requests are weighed again; they load meanwhile.

        Args:
            encoder: as ``router.encoders.make_encoder`` takes it.
            static: folder or name of the static encoder for the base model, if there is one.
        """
        message = LoadEncoders(encoder, static, self._parts.traces.address)
        await self._call("loralloy_load_encoders", (message.to_wire(),))

    async def _call(self, method: str, arguments: tuple[Any, ...]) -> Any:
        return await self.client.collective_rpc(method, args=arguments)

    async def prepare_compilations(self) -> None:
        """Start the process that compiles constraints, which the first of them waits for else."""
        try:
            await self._parts.compilations.start()
        except CompilerGone as error:
            logger.warning("%s; the next constraint of an answer tries again", error)

    async def probe(self) -> tuple[str, ...]:
        """Ask every worker for its report.

        Returns:
            What keeps the engine from serving, a sentence each; empty when all is well.
        """
        if self.failed:
            return ("the engine has died",)
        wires = await self._call("loralloy_report", ())
        reports = [WorkerReport.from_wire(wire) for wire in wires]
        self._report = reports[0]  # the others weigh the same
        return tuple(
            f"worker {number} {problem}"
            for number, report in enumerate(reports)
            for problem in self._problems(report)
        )

    def _problems(self, report: WorkerReport) -> Iterator[str]:
        if not report.wrapper.startswith("Gated"):
            yield f"applies LoRA by {report.wrapper}"
        if not report.is_bound:
            yield "has layers that bypass the bank"
        if not report.is_hooked:
            yield "has no per-step hook"
        if tuple(sorted(self._slots.ids.values())) != report.adapters:
            yield f"knows adapters {list(report.adapters)} only"

    async def prove(self, base: BaseModelShapes) -> tuple[str, ...]:
        """Try on a row in every layer, then on a whole request, whether adapters are applied.

        Args:
            base: the shapes of the base model's layers.

        Returns:
            What keeps the engine from serving, a sentence each; empty when all is well.
        """
        proofs = [BankProof.from_wire(wire) for wire in await self._call("loralloy_prove", ())]
        problems = tuple(
            f"worker {number} {problem}"
            for number, proof in enumerate(proofs)
            for problem in _faults(proof)
        )
        if problems:
            return problems
        try:
            fault = await canary.prove(self.client, self._slots, base)
        except EngineLoadError as error:
            return (f"it takes no adapter: {error.__cause__ or error}",)
        return () if fault is None else (f"it {fault}",)

    @property
    def failed(self) -> bool:
        """Whether the engine has died; it can't be revived, the process must end."""
        return bool(self.client.errored)

    async def log_stats(self) -> None:
        """Refresh vLLM's metrics, and what the workers count."""
        await self.client.do_log_stats()
        await self.probe()

    @property
    def worker(self) -> WorkerReport:
        """What the first worker said when it was last asked; the others weigh the same."""
        if self._report is None:
            raise RuntimeError("no worker has been asked for its report yet")
        return self._report

    @property
    def adapter_uses(self) -> int:
        """Uses of adapters by running requests, one for each adapter of each."""
        return self._usage.total

    @property
    def following_requests(self) -> int:
        """Running requests whose weights follow their answer."""
        return self._parts.policies.used

    @property
    def open_traces(self) -> int:
        """Running requests whose weighings are listened to."""
        return self._parts.traces.open_traces

    async def shutdown(self) -> None:
        """Stop the workers."""
        # What reads vLLM's answers goes first: it takes the end of the engine for its death.
        if (reader := self.client.output_handler) is not None:
            reader.cancel()
            await asyncio.wait({reader})
        await self._parts.compilations.close()
        await asyncio.to_thread(self.client.shutdown, _GRACE_S)
        await asyncio.to_thread(self._parts.traces.close)


def _launch(
    settings: EngineSettings, model: Path, name: str, *, compiles: bool
) -> tuple[Namespace, Any]:
    """Start the engine's process; vLLM's arguments and its client.

    Raises:
        EngineStartError: it did not start.
    """
    from vllm.engine.arg_utils import AsyncEngineArgs

    from server.engine.client.mixing_llm import MixingLLM
    from server.engine.vllm_serving import parse_arguments

    try:
        arguments = parse_arguments(
            settings, str(model), settings.served_model_name or name, compiles
        )
        client = MixingLLM.from_engine_args(AsyncEngineArgs.from_cli_args(arguments))
    except (ValueError, RuntimeError, OSError) as error:
        raise EngineStartError(f"the engine did not start: {error}") from error
    return arguments, client


def _prepare_processes(
    settings: EngineSettings, structured: StructuredOutputSettings, *, hub: bool
) -> None:
    """Set what the workers read, and compile the bank's kernel for them, unless that was done."""
    set_environment(settings, structured, hub=hub)
    kernel = build(cache_folder(settings.cache_dir) / "kernels")
    if kernel is None:
        os.environ.pop(KERNEL_VARIABLE, None)
    else:
        os.environ[KERNEL_VARIABLE] = str(kernel)


def _faults(proof: BankProof) -> Iterator[str]:
    kinds = (
        ("has layers that bypass the bank", proof.unbound),
        ("has layers that a gate does not move", proof.unmoved),
        ("has layers that an adapter moves without a gate", proof.ungated),
    )
    for fault, layers in kinds:
        if layers:
            shown = ", ".join(layers[:_MOST_SHOWN])
            more = f" and {len(layers) - _MOST_SHOWN} more" if layers[_MOST_SHOWN:] else ""
            yield f"{fault}: {shown}{more}"


def _available_cores(threads: str) -> tuple[int, ...]:
    cores = listed(threads)
    if cores and not set(cores) <= (there := os.sched_getaffinity(0)):
        raise EngineStartError(
            f"the engine cannot run on cores {threads}: this process may use "
            + ", ".join(map(str, sorted(there)))
        )
    return cores
