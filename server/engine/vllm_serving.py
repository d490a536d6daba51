"""vLLM's serving layer, as far as we use it: its arguments, its routers, its app state.

The modules imported here moved within vLLM's last releases; this is the one file to mend when they
move again.
"""

import logging
from argparse import Namespace
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI
from vllm.entrypoints.launchers.api_server.app_state import init_app_state
from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
from vllm.entrypoints.openai.chat_completion.api_router import attach_router as attach_chat
from vllm.entrypoints.openai.completion.api_router import attach_router as attach_completion
from vllm.entrypoints.openai.responses.api_router import attach_router as attach_responses
from vllm.entrypoints.serve.exception_handling.register import init_exception_handler
from vllm.entrypoints.serve.tokenize.api_router import attach_router as attach_tokenize
from vllm.utils.argparse_utils import FlexibleArgumentParser

from server.access.turns import TurnsExecutor
from server.engine.settings import ADAPTER_LINEARS, EngineSettings

ONE_PROCESS = "vllm.v1.executor.uniproc_executor.UniProcExecutor"
"""Scheduler and worker in one process (docs/adr/0007). By its path: vLLM on CPU turns the short
name "uni" into "mp"."""

PLAIN_TEMPLATE: Final = Path(__file__).with_name("templates") / "alpaca.jinja"
"""Chat template for base models that have none: Alpaca's form."""

logger = logging.getLogger(__name__)


def parse_arguments(settings: EngineSettings, model: str, name: str, compiles: bool) -> Namespace:
    """Turn our settings into vLLM's argument namespace.

    Args:
        settings: ours.
        model: a local folder or a hub name.
        name: the base model's name on the wire.
        compiles: whether the model is compiled at the start.
    """
    flags: list[str] = [
        *("--model", model, "--served-model-name", name, "--dtype", settings.dtype),
        *("--max-model-len", str(settings.max_model_len)),
        *("--max-num-seqs", str(settings.max_num_seqs)),
        *("--max-num-batched-tokens", str(settings.max_num_batched_tokens)),
        *("--seed", str(settings.seed)),
        *("--enable-lora", "--max-loras", str(settings.max_loras)),
        # Equal numbers: an adapter is in a slot or it is not loaded at all, so that no step ever
        # copies or reads one.
        *("--max-cpu-loras", str(settings.max_loras)),
        *("--max-lora-rank", str(settings.max_lora_rank)),
        *("--lora-target-modules", *ADAPTER_LINEARS),
        *("--distributed-executor-backend", ONE_PROCESS),
        *("--worker-extension-cls", "server.engine.worker.extension.BankWorker"),
        *("--scheduler-cls", "server.engine.worker.scheduler.SharingScheduler"),
        *("--enable-auto-tool-choice", "--tool-call-parser", settings.tool_call_parser),
        # A call's arguments keep to its tool's schema, also where a tool does not say `strict`.
        *("--tool-strict-level", "parameter"),
        "--enable-prompt-tokens-details",
        "--enable-prefix-caching"
        if settings.enable_prefix_caching
        else "--no-enable-prefix-caching",
    ]
    if settings.chat_template is not None:
        flags += ["--chat-template", str(settings.chat_template)]
    if not compiles:
        flags += ["--enforce-eager"]
    if settings.block_size is not None:
        flags += ["--block-size", str(settings.block_size)]
    if settings.num_gpu_blocks is not None:
        flags += ["--num-gpu-blocks-override", str(settings.num_gpu_blocks)]
    args: Namespace = make_arg_parser(FlexibleArgumentParser()).parse_args(flags)
    validate_parsed_serve_args(args)
    return args


class _Exit:
    """What vLLM's error handlers ask to stop when the engine dies, in place of its server."""

    should_exit = False


async def fill_state(engine: Any, app: FastAPI, args: Namespace) -> None:
    """Put vLLM's serving objects on ``app.state``, where its routers look for them."""
    # A tokenizer that knows no such attribute renders messages in a way of its own.
    if args.chat_template is None and not getattr(engine.get_tokenizer(), "chat_template", True):
        logger.info("the base model has no chat template: chats are put into Alpaca's form")
        args.chat_template = str(PLAIN_TEMPLATE)
    app.state.args = args
    app.state.server = _Exit()
    tasks = await engine.get_supported_tasks()
    await init_app_state(engine, app.state, args, tasks)
    take_turns(engine.renderer)


def take_turns(renderer: Any) -> None:
    """Let callers take turns at the one thread that renders templates and tokenises.

    As it comes, who has sent a thousand texts keeps everybody waiting until all are tokenised.
    """
    executor = renderer._executor

    def begin_anew() -> None:
        executor._inner.shutdown(wait=False)
        executor._inner = TurnsExecutor("tokeniser")

    executor.replace_inner = begin_anew  # as vLLM asks when a template takes too long
    begin_anew()


def attach_routes(app: FastAPI) -> None:
    """Attach the routes we serve and no other: chat, completions, responses, tokenise."""
    for attach in (attach_chat, attach_completion, attach_responses, attach_tokenize):
        attach(app)
    init_exception_handler(app)
