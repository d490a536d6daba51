"""The router's weights as an answer grows: ``w_t`` for the text so far after t new tokens."""

from collections.abc import Iterable, Mapping, Sequence

from transformers import PreTrainedTokenizerBase

from benchmarks.scopes.items import Item
from router.choice import View
from router.encoders import Encoder
from router.mixture import Mixture
from router.reweighing import Reweighing
from router.router import Router
from router.window import RoutingInput, embedding_of, stretches

BATCH = 16
"""Texts embedded at once; each stays in the encoder's memory until its step is weighed."""


def due(step: int, stride: int) -> int:
    """The step whose weights hold at ``step``: n ⌊t/n⌋."""
    return stride * (step // stride)


def steps_of(strides: Iterable[int], tokens: int) -> list[int]:
    """The steps at which one of the strides computes weights for an answer of so many tokens."""
    return sorted({due(step, stride) for stride in strides for step in range(tokens)})


def weights_by_step(
    router: Router,
    policy: str,
    item: Item,
    tokenizer: PreTrainedTokenizerBase,
    steps: Sequence[int],
) -> dict[int, Mixture]:
    """The mixture at each of ``steps``, by a policy that weighs again as the answer grows."""
    config = router.policy(policy)
    encoder = router.encoder_for(config, policy)
    spoken = RoutingInput(text=item.prompt)
    texts = {
        step: stretches(spoken, config.window, encoder, _text(item, step, tokenizer))
        for step in steps
    }
    if config.needs == "scores":
        _embed_ahead(encoder, texts)
    reweighing = _reweighing(router, policy, spoken)
    found = {}
    for step, parts in texts.items():
        wanted = parts and config.needs == "scores"
        found[step] = reweighing.mixture(embedding_of(parts, encoder) if wanted else None)
    return found


def _text(item: Item, step: int, tokenizer: PreTrainedTokenizerBase) -> str:
    text: str = tokenizer.decode(
        list(item.answer[:step]), skip_special_tokens=True, clean_up_tokenization_spaces=False
    )
    return text


def _embed_ahead(encoder: Encoder, texts: Mapping[int, Sequence[str]]) -> None:
    """Fill the encoder's memory by batches of like length, which is faster than one by one."""
    every = sorted({text for parts in texts.values() for text in parts}, key=len)
    for start in range(0, len(every), BATCH):
        encoder.encode(every[start : start + BATCH])


def _reweighing(router: Router, policy: str, spoken: RoutingInput) -> Reweighing:
    config = router.policy(policy)
    view = View(router.index.snapshot)
    names = view.candidates(config, policy)
    encoder = router.encoder_for(config, policy)
    embedding = embedding_of(stretches(spoken, config.window, encoder), encoder)
    return Reweighing.over(view, names, view.scores(embedding, names), config, policy, None)
