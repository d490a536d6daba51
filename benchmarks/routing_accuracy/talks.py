"""Talks, long texts and texts that none of the demo tasks is for, made of the tasks' own rows.

What is asked again, the texts around a question and the texts that fit no task come in two halves:
one for choosing, one for what is reported.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from adapters.training.data.examples import read_examples
from benchmarks.routing_accuracy.texts import FIT_LIMIT, TRAINING
from benchmarks.scopes.items import FILES as HELD_OUT
from router.window import RoutingInput

Messages = tuple[tuple[str, str], ...]

AGAIN: Final = (
    "Can you explain the second step again?",
    "Why?",
    "I don't understand. Could you say that more simply?",
    "Are you sure?",
    "Thanks! And what if the first one were twice as large?",
    "Can you give me another example?",
    "Shorter, please.",
    "What does the last part mean?",
    "How did you get that?",
    "Please check your answer.",
    "Go on.",
    "And the other one?",
    "Could you rewrite it so that it is easier to read?",
    "What would change if we left out the first condition?",
    "That is not what I asked for.",
    "What do you mean by that?",
    "Say that again in other words.",
    "Is that always so?",
    "Can you show me how you came to this?",
    "And then?",
    "I am lost after the first part.",
    "Does the order matter?",
    "Could you double-check the third line?",
    "Make it simpler, please.",
    "What if it was the other way round?",
    "Great, thank you. One more thing: is there another way?",
    "Repeat the last bit.",
    "Why not the other option?",
    "Hm, that looks wrong to me.",
    "Please go into more detail.",
)
"""Follow-ups that do not tell what they are about."""

AROUND: Final = (
    "You are the assistant of a small company that sells garden tools. Be polite and brief, never "
    "promise anything about delivery times, and do not mention competitors. If a customer is "
    "angry, apologise once and offer to pass the matter on to a colleague. Our opening hours are "
    "nine to five from Monday to Friday, and we are closed on public holidays. ",
    "Below is a request from a user of our service. Read all of it carefully before you begin, "
    "think about what is really wanted, and then write a response that completes the request in "
    "an appropriate way. Do not repeat the request. Keep a friendly and professional tone, and "
    "avoid jargon wherever a plain word does the same work. ",
    "Dear team, here are the minutes of our meeting on the summer festival. Anna has talked to the "
    "town hall about the square, which we can have from Friday on. Ben will bring the tables and "
    "benches from the club house. The band wants a roof over the stage in case of rain. ",
    "This text was handed in by a guest of our hotel. Guests write about their rooms, about "
    "breakfast and about the weather, and some of them ask for something besides. Whatever they "
    "ask, stay calm, thank them for their stay, and wish them a good journey home. ",
)
"""What stands before or after a question, repeated to 300 words."""

AROUND_WORDS: Final = 300

NO_WORDS: Final = (
    "?!...",
    "...",
    "!!!",
    ":-)",
    "---",
    "***",
    "&&&&",
    "<>",
    "\U0001f600" * 3,
    "→ →",
)
"""Texts without a letter or a digit."""

NO_TASK: Final = (
    "hi",
    "thanks",
    "ok",
    "good morning",
    "How are you?",
    "Tell me a joke.",
    "What's your name?",
    "Recommend me a good film.",
    "Plan a weekend in Rome for two.",
    "How do I cook rice?",
    "bye",
    "Thank you very much!",
    "la la la",
    "hmm",
    "lorem ipsum",
    "Who are you?",
    "What is the weather today?",
    "Write a birthday card for my aunt.",
    "Translate 'good night' to French.",
    "Suggest a name for my cat.",
)
"""Texts that none of the tasks is for."""


@dataclass(frozen=True, slots=True)
class Case:
    """What is said, and the task whose adapter is right; None: none is."""

    spoken: RoutingInput
    task: str | None


def rows(folder: Path, count: int, *, held_out: bool) -> Mapping[str, Sequence[tuple[str, str]]]:
    """Task → (prompt, answer) of held-out rows, or of training rows without centroids.

    Raises:
        TrainingError: a file cannot be read, or a line is wrong.
    """
    found = {}
    for task, files in TRAINING.items():
        name, first = (HELD_OUT[task], 0) if held_out else (files[0], FIT_LIMIT)
        examples = list(read_examples(folder / name, task))[first:]
        every = max(1, len(examples) // count)
        found[task] = [(one.prompt, one.completion.strip()) for one in examples[::every][:count]]
    return found


def cases(of: Mapping[str, Sequence[tuple[str, str]]], *, held_out: bool) -> dict[str, list[Case]]:
    """Kind of case → cases."""
    half = 1 if held_out else 0
    again, around = AGAIN[half::2], AROUND[half::2]
    found: dict[str, list[Case]] = {
        "one message": [],
        "follow-up": [],
        "follow-up after a change": [],
        "change of subject": [],
        "300 words before": [],
        "300 words after": [],
    }
    tasks = list(of)
    for place, task in enumerate(tasks):
        other = of[tasks[(place + 1) % len(tasks)]]
        for number, (asked, answer) in enumerate(of[task]):
            first = _turn(*other[number % len(other)])
            now = _turn(asked, answer)
            follow_up = ("user", again[number % len(again)])
            frame = _long(around[number % len(around)])
            for kind, messages in (
                ("one message", now[:1]),
                ("follow-up", (*now, follow_up)),
                ("follow-up after a change", (*first, *now, follow_up)),
                ("change of subject", (*first, *now[:1])),
                ("300 words before", (("user", f"{frame}\n\n{asked}"),)),
                ("300 words after", (("user", f"{asked}\n\n{frame}"),)),
            ):
                found[kind].append(Case(RoutingInput(messages), task))
    found["no task"] = [_nothing(text) for text in NO_TASK[half::2]]
    found["no words"] = [_nothing(text) for text in NO_WORDS[half::2]]
    return found


def texts_of(found: Mapping[str, Sequence[Case]]) -> Iterator[RoutingInput]:
    """All that is said."""
    return (case.spoken for of_kind in found.values() for case in of_kind)


def _turn(asked: str, answer: str) -> Messages:
    return (("user", asked), ("assistant", answer))


def _nothing(text: str) -> Case:
    return Case(RoutingInput((("user", text),)), None)


def _long(text: str) -> str:
    words = text.split()
    return " ".join((words * (AROUND_WORDS // len(words) + 1))[:AROUND_WORDS])
