"""Runs that cannot go on end in one line, and keep the last good checkpoint, which it names."""

import resource

import pytest
import torch
from safetensors.torch import load_file
from transformers import Trainer

from adapters.training.run import progress

KEPT = "checkpoints/checkpoint-2"


@pytest.fixture
def at_step(monkeypatch):
    """Have something happen once a step has been logged, in place of what was to happen before."""
    logged = progress.StepReport.on_log

    def arrange(step, happen):
        def on_log(self, args, state, control, logs=None, **rest):
            logged(self, args, state, control, logs, **rest)
            if state.global_step == step:
                happen(rest["model"])

        monkeypatch.setattr(progress.StepReport, "on_log", on_log)

    return arrange


def _spoil(model):
    """Make one entry of B infinite, as a learning rate that is too high would in the end."""
    with torch.no_grad():
        next(p for name, p in model.named_parameters() if "lora_B" in name)[0, 0] = float("inf")


def test_a_loss_that_is_no_number_stops_the_run(tmp_path, train, capsys, at_step):
    at_step(3, _spoil)
    assert train(tmp_path / "out") == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: training diverged: the loss of step 4 is nan; lower ")
    assert line.endswith(f"the last good one is {tmp_path / 'out' / KEPT}")
    assert not (tmp_path / "out" / "adapter_model.safetensors").exists()


def test_its_checkpoint_is_finite_and_can_be_gone_on_from(tmp_path, train, capsys, at_step):
    at_step(3, _spoil)
    assert train(tmp_path / "out") == 1
    weights = load_file(tmp_path / "out" / KEPT / "adapter_model.safetensors")
    assert all(tensor.isfinite().all() for tensor in weights.values())
    at_step(99, _spoil)
    settings = {"start_from": tmp_path / "out" / KEPT, "learning_rate": 1e-5}
    assert train(tmp_path / "again", steps=2, **settings) == 0


def test_a_gradient_that_is_no_number_is_not_stepped_into_a_checkpoint(
    tmp_path, train, capsys, monkeypatch
):
    step = Trainer.training_step

    def training_step(self, model, inputs, *rest, **named):
        loss = step(self, model, inputs, *rest, **named)
        if self.state.global_step == 3:
            next(p for p in model.parameters() if p.grad is not None).grad[0] = float("nan")
        return loss

    monkeypatch.setattr(Trainer, "training_step", training_step)
    assert train(tmp_path / "out") == 1
    error = capsys.readouterr().err
    assert "the gradient's norm of step 4 is nan" in error
    assert [path.name for path in (tmp_path / "out" / "checkpoints").glob("*-*")] == [
        "checkpoint-2"
    ]


@pytest.mark.parametrize(
    "largest", [pytest.param(2_000, id="of weights"), pytest.param(120_000, id="of optimizer")]
)
def test_a_full_disk_ends_in_one_line_and_the_run_can_go_on(
    tmp_path, train, capsys, at_step, largest
):
    """A file that may not grow is written like one on a full disk, up to the error's number."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    at_step(4, lambda model: resource.setrlimit(resource.RLIMIT_FSIZE, (largest, before[1])))
    try:
        assert train(tmp_path / "out") == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith(f"error: cannot write to {tmp_path / 'out'}: ")
    assert lines[-1].endswith(KEPT)
    assert len(lines) == 1
    at_step(99, lambda model: None)
    assert train(tmp_path / "out", "--resume") == 0
    assert train(tmp_path / "whole") == 0
    resumed, whole = (
        load_file(tmp_path / name / "adapter_model.safetensors") for name in ("out", "whole")
    )
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)
