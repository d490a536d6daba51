"""Training: token vectors whose means point where the teacher's embeddings do.

    row_t = exp(w_t) · A f_t + δ_t        f_t: the teacher's embedding of the token alone, and 1
    u = mean of row_t over a sample       target: [P e, √(1 − ‖P e‖²)]
    loss = 1 − cos(u, target) + λ · mean_k (cos(u, P c_k) − e · c_k / ‖c_k‖)²

over the weights w, the map A and the offsets δ. A and w carry what holds for all words, rare ones
too; δ, learnt slowly, what is each token's own. The last value of a target is the length of what P
leaves out: with it cosines keep the teacher's size. The second term weighs the directions that
routing asks for, the topics' own means c_k. Tokens are dropped at random, so that no sample hangs
on single words.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from router.distill.texts import Sample

Rows = npt.NDArray[np.float32]
Progress = Callable[[Sequence[int], str], Iterator[int]]

MAP_RATE = 3e-3
WEIGHT_RATE = 9e-3
OFFSET_RATE = 3e-4
"""Learning rates at the beginning; they fall to nothing in a straight line."""

PROBE_WEIGHT = 10.0
"""λ."""

CONSTANT = 0.3
"""The constant value beside the teacher's embedding of a token."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How long and how finely: epochs, samples a step, share of tokens dropped, seed."""

    epochs: int = 10
    batch_size: int = 256
    dropped: float = 0.2
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Lesson:
    """What is learnt from.

    Attributes:
        samples: the texts [n].
        embeddings: the teacher's of them [n, w], of length 1.
        tokens: the teacher's embeddings [V, w] of the tokens alone, zero for those that say
            nothing.
        weights: of the tokens at first [V].
        directions: P [d, w].
    """

    samples: Sequence[Sample]
    embeddings: Rows
    tokens: Rows
    weights: Rows
    directions: Rows


class _Student(torch.nn.Module):
    """The parameters w [V], A [w + 1, d + 1] and δ [V, d + 1]."""

    def __init__(self, lesson: Lesson) -> None:
        super().__init__()
        is_text = lesson.tokens.any(axis=1, keepdims=True)
        features = np.concatenate([lesson.tokens, CONSTANT * is_text], axis=1).astype(np.float32)
        depth, width = lesson.directions.shape
        first = torch.zeros(width + 1, depth + 1)
        first[:width, :depth] = torch.from_numpy(lesson.directions.T.copy())
        first[width, depth] = 1.0
        self.features = torch.from_numpy(features)
        self.is_text = torch.from_numpy(is_text.astype(np.float32))
        self.map = torch.nn.Parameter(first)
        self.weights = torch.nn.Parameter(torch.from_numpy(np.log(lesson.weights)))
        self.offsets = torch.nn.EmbeddingBag(
            len(features),
            depth + 1,
            mode="sum",
            sparse=True,
            _weight=torch.zeros(len(features), depth + 1),
        )

    def forward(self, ids: torch.Tensor, starts: torch.Tensor) -> torch.Tensor:
        """Unit vectors [n, d + 1] of n samples: tokens in a row, and where each begins."""
        shared = functional.embedding_bag(
            ids, self.features, starts, mode="sum", per_sample_weights=self.weights[ids].exp()
        )
        return functional.normalize(shared @ self.map + self.offsets(ids, starts), dim=1)

    @torch.no_grad()
    def rows(self) -> Rows:
        """The token vectors [V, d + 1]; tokens that say nothing stay zero."""
        rows = self.weights.exp()[:, None] * self.features @ self.map + self.offsets.weight
        found: Rows = (rows * self.is_text).numpy()
        return found


def trained(lesson: Lesson, recipe: Recipe, progress: Progress) -> Rows:
    """The token vectors [V, d + 1]: directions, and the length of what lies outside them."""
    torch.manual_seed(recipe.seed)
    student = _Student(lesson)
    targets, probes, cosines = _targets(lesson)
    dense = torch.optim.Adam(
        [
            {"params": [student.map], "lr": MAP_RATE},
            {"params": [student.weights], "lr": WEIGHT_RATE},
        ]
    )
    sparse = torch.optim.SparseAdam(student.offsets.parameters(), lr=OFFSET_RATE)
    schedules = _falling([dense, sparse], recipe, len(lesson.samples))
    ids = [torch.tensor(sample.ids) for sample in lesson.samples]
    for _ in progress(range(recipe.epochs), "training"):
        for batch in torch.randperm(len(ids)).split(recipe.batch_size):
            chosen = [_thinned(ids[number], recipe.dropped) for number in batch.tolist()]
            unit = student(torch.cat(chosen), _starts(chosen))
            loss = (1 - (unit * targets[batch]).sum(1)).mean()
            loss = loss + PROBE_WEIGHT * (unit @ probes.T - cosines[batch]).square().mean()
            student.zero_grad()
            loss.backward()
            dense.step()
            sparse.step()
            for schedule in schedules:
                schedule.step()
    return student.rows()


def _targets(lesson: Lesson) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Targets [n, d + 1], topics' means [k, d + 1], and the teacher's cosines [n, k] to them."""
    inside = lesson.embeddings @ lesson.directions.T
    outside = np.sqrt(np.maximum(0, 1 - np.square(inside).sum(axis=1, keepdims=True)))
    topics = np.array([sample.topic for sample in lesson.samples])
    means = np.array([lesson.embeddings[topics == topic].mean(0) for topic in np.unique(topics)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    probes = np.pad(means @ lesson.directions.T, ((0, 0), (0, 1)))
    arrays = (np.concatenate([inside, outside], axis=1), probes, lesson.embeddings @ means.T)
    targets, probe_rows, cosines = (torch.from_numpy(a.astype(np.float32)) for a in arrays)
    return targets, probe_rows, cosines


def _thinned(ids: torch.Tensor, share: float) -> torch.Tensor:
    """The ids without a random share of them; all of them if none would be left."""
    kept = ids[torch.rand(len(ids)) >= share]
    return kept if len(kept) else ids


def _starts(chosen: Sequence[torch.Tensor]) -> torch.Tensor:
    return torch.tensor([0, *(len(ids) for ids in chosen[:-1])]).cumsum(0)


def _falling(
    optimisers: Sequence[torch.optim.Optimizer], recipe: Recipe, count: int
) -> list[torch.optim.lr_scheduler.LambdaLR]:
    steps = max(1, recipe.epochs * -(-count // recipe.batch_size))
    return [
        torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: max(1 - step / steps, 1e-3))
        for optimiser in optimisers
    ]
