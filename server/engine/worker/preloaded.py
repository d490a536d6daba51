"""Everything that the engine's process and trials of constraints import, to be imported at once.

The fork server imports this module (:mod:`server.engine.forkserver`), and nobody else.
"""

# ruff: noqa: F401

import gc

import setproctitle
import vllm.distributed.elastic_ep.elastic_execute
import vllm.lora.worker_manager
import vllm.model_executor.layers.quantization.compressed_tensors.compressed_tensors
import vllm.model_executor.model_loader
import vllm.model_executor.models.llama
import vllm.model_executor.models.qwen2
import vllm.v1.attention.backends.cpu_attn
import vllm.v1.engine.core
import vllm.v1.executor.uniproc_executor
import vllm.v1.structured_output.backend_guidance
import vllm.v1.structured_output.backend_xgrammar
import vllm.v1.worker.cpu_model_runner
import vllm.v1.worker.cpu_worker

import router.encoders.sentence_transformer
import server.engine.structured.trial
import server.engine.worker.extension
import server.engine.worker.plugin
import server.engine.worker.scheduler

# Titles are written over what the process was started with, which has to be found before the
# environment moves elsewhere.
setproctitle.setproctitle("Loralloy::ForkServer")
# What is shared after a fork stays shared: the collector would write to all of it.
gc.freeze()
