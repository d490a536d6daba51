"""LoRI-S over several processes: what FSDP and DDP make of it is what one process makes."""

import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from adapters.training.methods.lori import extract
from tests.support.training import SMALL
from tests.unit.adapters.training import sharded_masks


def test_sharded_parameters_are_masked_as_whole_ones_are(tmp_path):
    command = [sys.executable, "-m", sharded_masks.__name__, str(tmp_path)]
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    _, mask = sharded_masks.layer()
    weight = torch.load(tmp_path / "weight.pt")
    assert not weight[~mask].any()
    assert weight[mask].all()
    torch.testing.assert_close(weight, sharded_masks.alone())


@pytest.mark.timeout(600)
def test_two_processes_train_what_one_does(tmp_path, train, tiny_base, maths_file):
    dense = tmp_path / "dense"
    assert train(dense, method="lori_d") == 0
    assert extract.main([str(dense), "--sparsity", "0.5"]) == 0
    mask = dense / "masks" / "0.5_mask.safetensors"
    settings = {"mask": mask, "batch_size": 4, "micro_batch_size": 1}
    assert train(tmp_path / "one", method="lori_s", **settings) == 0
    given = {"data": f"[{maths_file}]", "base_model": tiny_base, **SMALL, **settings}
    out = tmp_path / "two"
    command = [
        *(sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2"),
        *("--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"),
        *("--num_cpu_threads_per_process", "1", "-m", "adapters.training", "lori_s"),
        *(f"--set={key}={value}" for key, value in given.items()),
        *("--out", str(out), "--quiet"),
    ]
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("one", "two"))
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=2e-2, atol=2e-5)
