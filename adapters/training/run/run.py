"""One run from its plan to the finished folder."""

import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from transformers import PreTrainedTokenizerBase, Trainer

from adapters.names import check_name
from adapters.training.data.examples import digest_of, encode_all, read_examples
from adapters.training.data.hub import read_hub
from adapters.training.data.order import draw_batches
from adapters.training.data.pairs import Pair, fitting_pairs
from adapters.training.data.templates import Example
from adapters.training.errors import TrainingError
from adapters.training.plan.recipe_file import Plan
from adapters.training.run.base_model import load_base, public_name
from adapters.training.run.card import Card, CardRecipe, DataSource
from adapters.training.run.distributed import is_first, once
from adapters.training.run.failures import StopAtNaN, naming_full_disk
from adapters.training.run.folder import RunFolder
from adapters.training.run.loss_curve import draw_losses
from adapters.training.run.progress import StepReport
from adapters.training.run.trainers import Examples, Saving, make_trainer

_KIB = 1024


@dataclass(frozen=True, slots=True)
class Session:
    """Where and how a run is done; nothing in it changes the result.

    Attributes:
        out: folder to make.
        name: of the result; without one, the folder's.
        save_every: steps between checkpoints.
        resume: whether to go on with the run that is in the folder.
        quiet: whether to show no progress bar.
    """

    out: Path
    name: str | None = None
    save_every: int = 25
    resume: bool = False
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class Data:
    """What is learned.

    Attributes:
        examples: of all files and datasets.
        digests: SHA-256 of each file or dataset by its name.
    """

    examples: Sequence[Example]
    digests: dict[str, str]


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that is through.

    Attributes:
        card: of what it made.
        prompts: of every example that it read, in their order.
    """

    card: Card
    prompts: Sequence[str]


def run(plan: Plan, session: Session) -> Finished:
    """Train as planned and write the result with its card.

    Raises:
        AdapterError: something about the data, the recipe or the folder is wrong.
    """
    name = check_name(session.name or session.out.resolve().name)
    data = read_data(plan)
    plan = plan.settled(data.digests)
    method, job, recipe = plan.method, plan.job, plan.recipe
    identity = _identity(plan, data)
    folder = RunFolder(session.out, method.result)
    base, tokenizer = load_base(job.base_model, recipe.dtype)
    examples = _encoded(plan, data, tokenizer)
    recipe = recipe.model_copy(update={"steps": recipe.total_steps(len(examples))})
    model = method.prepare(base, job, recipe, plan.keys)
    checkpoint = once(lambda: folder.open(identity, resume=session.resume))
    began = time.monotonic()
    ordered, tokens = _in_order(examples, recipe.batch_size, recipe.steps or 1, recipe.seed)
    report = StepReport(folder.log, name, tokens, quiet=session.quiet or not is_first())
    saving = Saving(folder.checkpoints, session.save_every)
    trainer = make_trainer(model, tokenizer, ordered, recipe, saving, report)
    try:
        _train(trainer, folder, checkpoint)
    finally:
        report.stop()
    state = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    base_name, written = public_name(job.base_model), 0
    if is_first():
        with naming_full_disk(session.out):
            written = method.save(model, tokenizer, state, base_name, session.out)
    card = Card(
        name=name,
        task=job.task,
        method=method.name,
        product=method.product,
        base_model=base_name,
        data=DataSource(
            name=job.data_name,
            licence=job.data_licence,
            files=data.digests,
            examples=len(examples),
        ),
        inputs=_inputs(plan),
        recipe=CardRecipe(**plan.numbers),
        steps=recipe.steps,
        seconds=round(time.monotonic() - began, 1),
        tokens=sum(tokens),
        bytes=written,
        peak_memory=_peak_memory(),
    )
    if is_first():
        card.write(session.out)
        draw_losses(folder.log, session.out / "loss.svg", name)
        folder.close()
    return Finished(card, [example.prompt for example in data.examples])


def read_data(plan: Plan) -> Data:
    """The examples of all files and datasets of a plan.

    Raises:
        TrainingError: one cannot be read, or a row is wrong.
    """
    examples: list[Example] = []
    digests: dict[str, str] = {}
    for source in plan.job.data:
        if isinstance(source, str):
            examples += read_examples(Path(source), plan.job.task)
            digests |= digest_of([Path(source)])
        else:
            found, digest = read_hub(source, plan.job.task)
            examples += found
            digests[Path(source.hub).name] = digest
    return Data(examples, digests)


def _identity(plan: Plan, data: Data) -> dict[str, Any]:
    """What a resumed run must have in common with the one that broke off."""
    return {
        "method": plan.method.name,
        "task": plan.job.task,
        "base_model": public_name(plan.job.base_model),
        "data": data.digests,
        "inputs": _inputs(plan),
        "recipe": plan.numbers,
    }


def _inputs(plan: Plan) -> dict[str, str]:
    """SHA-256 of what the run takes from earlier ones, by the recipe's key."""
    for key, path in plan.inputs.items():
        if not path.is_file():
            raise TrainingError(f"{key}: there is no file {path}")
    return {key: digest_of([path])[path.name] for key, path in plan.inputs.items()}


def _encoded(plan: Plan, data: Data, tokenizer: PreTrainedTokenizerBase) -> Examples:
    recipe = plan.recipe
    if recipe.loss == "dpo":
        return fitting_pairs(data.examples, tokenizer, recipe.max_tokens)
    return encode_all(data.examples, tokenizer, recipe.max_tokens, recipe.max_prompt_tokens)


def _in_order(
    examples: Examples, batch_size: int, steps: int, seed: int
) -> tuple[Examples, list[int]]:
    """The examples in the order in which they are used, and how many tokens each step holds."""
    lengths = [
        example.tokens if isinstance(example, Pair) else len(example.input_ids)
        for example in examples
    ]
    batches = draw_batches(lengths, batch_size, steps, seed)
    ordered = [examples[index] for batch in batches for index in batch]
    tokens = [sum(lengths[index] for index in batch) for batch in batches]
    return cast(Examples, ordered), tokens


def _train(trainer: Trainer, folder: RunFolder, checkpoint: Path | None) -> None:
    """Train to the end, or from a checkpoint to it."""
    trainer.add_callback(StopAtNaN())
    try:
        with naming_full_disk(folder.path):
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    except TrainingError as error:
        raise TrainingError(f"{error}; {folder.kept()}") from error


def _peak_memory() -> int:
    """The most bytes that this process has held: of the GPU's memory where there is one."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KIB
