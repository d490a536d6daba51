"""What every method's file provides, and that one with a new key needs nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import LlamaForCausalLM

from adapters.training import methods
from adapters.training.errors import TrainingError
from adapters.training.job import Job
from adapters.training.methods import METHODS, method_of
from adapters.training.plan.keys import COMMON
from adapters.training.recipe import Recipe

JOB = Job(task="maths", base_model="base", data=("train.jsonl",))


def test_every_file_of_a_method_is_listed():
    folder = Path(methods.__file__).parent
    files = {path.stem for path in folder.glob("*.py") if "METHOD: Final = " in path.read_text()}
    assert files == set(METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_has_its_files_name_and_keys_that_are_no_others(name):
    method = method_of(name)
    assert (method.name, bool(method.title), bool(method.reference)) == (name, True, True)
    assert not method.keys.model_fields.keys() & COMMON.keys()
    assert not method.refused.keys() & method.keys.model_fields.keys()


@pytest.mark.parametrize("name", ["lora", "lori_d", "full"])
def test_a_method_begins_at_the_base_model(name, tiny_base):
    base, plain = (
        LlamaForCausalLM.from_pretrained(tiny_base, dtype=torch.float32).eval() for _ in range(2)
    )
    method = method_of(name)
    model = method.prepare(base, JOB, Recipe(), method.keys()).eval()
    ids = torch.arange(1, 9)[None]
    assert torch.equal(model(ids).logits, plain(ids).logits)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert trained
    assert method.makes_adapter == (len(trained) < len(list(model.parameters())))


def test_a_method_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(TrainingError, match="no method 'nothing'; there are lora, full, "):
        method_of("nothing")


def test_listing_the_methods_imports_none_of_their_libraries():
    look = "import sys, adapters.training.methods as m; print(m.METHODS, 'torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", look], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split()[-1] == "False"
