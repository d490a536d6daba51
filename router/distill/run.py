"""The run: from texts to a folder and its agreement with the teacher."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from router.distill.agreement import Agreement, measured
from router.distill.first_vectors import directions, rarities, token_strings
from router.distill.progress import Bars
from router.distill.teacher import embeddings
from router.distill.texts import Sample, Topic, drawn, parted, samples_of
from router.distill.training import Lesson, Recipe, trained
from router.encoders import Encoder
from router.encoders.static import StaticEncoder
from router.encoders.static_format import StaticConfig, write_folder
from router.encoders.vocabulary import vocabulary_digest, vocabulary_size

HELD_OUT_SHARE = 0.1
HELD_OUT_PIECES = 3

Rows = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is to make.

    Attributes:
        out: the folder to write; its name is the encoder's.
        base_model: the base model's name.
        dimension: directions of the teacher's space that are kept.
        bits: of a value, 4 or 8.
        limit: texts of a topic that are trained on, at most.
        pieces: samples of a text beside its whole.
        held_out_limit: texts of a topic that are held out, at most.
        keep: a folder for the teacher's embeddings, or None.
        recipe: the training.
    """

    out: Path
    base_model: str
    dimension: int = 128
    bits: int = 4
    limit: int | None = None
    pieces: int = 2
    held_out_limit: int | None = 200
    keep: Path | None = None
    recipe: Recipe = field(default_factory=Recipe)


class Distillation:
    """One teacher, one tokenizer, one plan."""

    def __init__(self, teacher: Encoder, tokenizer: Tokenizer, plan: Plan, bars: Bars) -> None:
        self._teacher = teacher
        self._tokenizer = tokenizer
        self._plan = plan
        self._bars = bars

    def run(
        self,
        topics: Sequence[Topic],
        held_out: Sequence[Topic],
        centroids: Mapping[str, npt.NDArray[np.floating]],
    ) -> list[Agreement]:
        """Train, write the folder, and measure what was written.

        Args:
            topics: the texts to train on.
            held_out: the texts to measure on; if there are none, a tenth of each topic.
            centroids: adapter → the teacher's centroid [w] or several [p, w]; if there are none,
                the topics' means.

        Raises:
            NoExamples: a topic has too few texts.
            EncoderFailed: the teacher could not encode.
            OSError: the folder cannot be written.
        """
        plan = self._plan
        if not held_out:
            pairs = [parted(topic, HELD_OUT_SHARE) for topic in topics]
            topics, held_out = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        samples = self._samples(topics, plan.limit, plan.pieces, plan.recipe.seed)
        rows = self._embedded(samples, "texts", fast=True)
        student = self._made(samples, rows)
        if not centroids:
            topics_of = np.array([sample.topic for sample in samples])
            centroids = {
                topic.name: rows[topics_of == number].mean(axis=0)
                for number, topic in enumerate(topics)
            }
        return self._measured(student, held_out, centroids)

    def again(
        self, held_out: Sequence[Topic], centroids: Mapping[str, npt.NDArray[np.floating]]
    ) -> list[Agreement]:
        """Measure the encoder that an earlier run wrote.

        Args:
            held_out: the texts to measure on.
            centroids: adapter → the teacher's centroid [w] or several [p, w].

        Raises:
            NoExamples: a topic has too few texts.
            EncoderFailed: there is no encoder, or the teacher could not encode.
        """
        student = StaticEncoder(str(self._plan.out), tokenizer=self._tokenizer)
        return self._measured(student, held_out, centroids)

    def _measured(
        self,
        student: StaticEncoder,
        held_out: Sequence[Topic],
        centroids: Mapping[str, npt.NDArray[np.floating]],
    ) -> list[Agreement]:
        limit, seed = self._plan.held_out_limit, self._plan.recipe.seed
        tests = self._samples(held_out, limit, HELD_OUT_PIECES, seed + 1)
        tested = self._embedded(tests, "held-out texts", fast=False)
        return measured(student, tests, tested, centroids, held_out)

    def _made(self, samples: Sequence[Sample], rows: Rows) -> StaticEncoder:
        plan, size = self._plan, vocabulary_size(self._tokenizer)
        strings = token_strings(self._tokenizer, size)
        tokens = self._encode(strings, "tokens", fast=True)
        tokens *= np.array([bool(string) for string in strings])[:, None]
        chosen = directions(rows, tokens, plan.dimension)
        lesson = Lesson(samples, rows, tokens, rarities(samples, size), chosen)
        vectors = trained(lesson, plan.recipe, self._bars.each)
        config = StaticConfig(
            name=plan.out.name,
            base_model=plan.base_model,
            vocabulary_size=size,
            vocabulary_sha256=vocabulary_digest(self._tokenizer),
            teacher=self._teacher.name,
            teacher_dimension=self._teacher.dimension,
            dimension=vectors.shape[1],
            bits=plan.bits,
        )
        # The last value stands for what lies outside the directions: no centroid has a share in it.
        projection = np.pad(chosen, ((0, 1), (0, 0)))
        write_folder(plan.out, config, vectors, projection)
        return StaticEncoder(str(plan.out), tokenizer=self._tokenizer)

    def _samples(
        self, topics: Sequence[Topic], limit: int | None, pieces: int, seed: int
    ) -> list[Sample]:
        rng = np.random.default_rng(seed)
        taken = [drawn(topic, limit, rng) for topic in topics]
        return samples_of(taken, self._tokenizer, rng, pieces)

    def _embedded(self, samples: Sequence[Sample], title: str, *, fast: bool) -> Rows:
        return self._encode([sample.text for sample in samples], title, fast=fast)

    def _encode(self, texts: Sequence[str], title: str, *, fast: bool) -> Rows:
        return embeddings(
            self._teacher,
            texts,
            title=title,
            progress=self._bars.batches,
            keep=self._plan.keep,
            fast=fast,
        )
