"""A start proves that adapters are applied by what they do: a broken engine does not serve.

Each server here is the real one, with one thing in the engine's process broken when its module is
imported there. They start side by side, since each takes half a minute.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.running_server import START_S, free_port

ROOT = Path(__file__).parents[2]

DEAF, UNBOUND = "model.layers.1.mlp.down_proj", "model.layers.2.self_attn.qkv_proj"

BREAKS = {
    "a layer's call goes nowhere, and another is not bound": (
        "server.engine.bank.punica",
        f"""
        stock = module.bind_layers
        def bind_layers(modules):
            stock({{name: layer for name, layer in modules.items() if name != "{UNBOUND}"}})
            modules["{DEAF}"].punica_wrapper.add_lora_linear = lambda *args, **kwargs: None
        module.bind_layers = bind_layers
        module.GatedPunica.add_lora_linear = lambda self, *args, **kwargs: None
        """,
        f"worker 0 has layers that bypass the bank: {UNBOUND}; "
        f"worker 0 has layers that a gate does not move: {DEAF}",
    ),
    "steps have no gates": (
        "server.engine.worker.step_hook",
        "module.fill_step = lambda runner, table, reweigher, gates, lengths: gates.clear()",
        "it answers as the base model where an adapter is asked for",
    ),
    "vLLM computes on a GPU": (
        "vllm.platforms.cpu",
        """
        module.CpuPlatform.is_cpu = lambda self: False
        module.CpuPlatform.device_type = "cuda"
        """,
        "vLLM computes on cuda here, and adapters are applied on CPUs alone so far",
    ),
}

HOOK = """
import sys, textwrap
from importlib.machinery import PathFinder

class Breaks(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name != {name!r}:
            return None
        spec = PathFinder.find_spec(name, path, target)
        run = spec.loader.exec_module
        def exec_module(module):
            run(module)
            exec(textwrap.dedent({code!r}), {{"module": module}})
        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Breaks)
"""


@pytest.fixture(scope="module")
def endings(
    tiny_base: Path, encoder_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, tuple[int, str]]]:
    """What each broken server printed, and its exit status."""
    processes = {}
    for number, (fault, (name, code, _)) in enumerate(BREAKS.items()):
        folder = tmp_path_factory.mktemp(f"broken-{number}")
        (folder / "sitecustomize.py").write_text(HOOK.format(name=name, code=code))
        command = [
            *(sys.executable, "-m", "server", "--port", str(free_port())),
            *("--model", str(tiny_base), "--data-dir", str(folder / "data"), "--no-demo-adapters"),
            *("--dtype", "float32", "--max-loras", "2", "--max-model-len", "256", "--eager"),
        ]
        path = os.pathsep.join([str(folder), str(ROOT), os.environ.get("PYTHONPATH", "")])
        processes[fault] = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONPATH": path, "COLUMNS": "1000"},
        )
    try:
        printed = {
            fault: process.communicate(timeout=START_S)[0] for fault, process in processes.items()
        }
        yield {fault: (processes[fault].returncode, text) for fault, text in printed.items()}
    finally:
        for process in processes.values():
            process.kill()


@pytest.mark.parametrize("fault", BREAKS)
def test_what_is_broken_is_said_in_one_line_and_not_served(endings, fault: str) -> None:
    status, printed = endings[fault]
    assert status != 0
    assert BREAKS[fault][2] in printed
    assert "Traceback" not in printed
    assert "is ready" not in printed
