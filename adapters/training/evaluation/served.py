"""Models of a running server: what is measured is what its users get, mixtures too.

The loss of a routed answer is that under the mixture which the prompt alone gives, as when the
answer would be generated: the server is asked for the mixture, and then to score with it.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import httpx

from adapters.training.errors import TrainingError
from adapters.training.evaluation.models import BASE, Pair, Sums
from adapters.training.evaluation.questions import Question
from adapters.training.refusal import refusal

AT_ONCE: Final = 8
_SECONDS: Final = 600


class ServedModel:
    """A name that the server knows.

    Args:
        url: of the server.
        name: the base model, an adapter or a policy; ``base`` for the base model.
        key: API key, if it needs one.

    Raises:
        TrainingError: the server cannot be reached, or does not know the name.
    """

    def __init__(self, url: str, name: str, key: str | None = None) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.Client(base_url=url.rstrip("/"), headers=headers, timeout=_SECONDS)
        self.name = name
        listed = {one["id"]: one["kind"] for one in self._ask("GET", "/v1/models")["data"]}
        base = next((known for known, kind in listed.items() if kind == "base"), None)
        self._model = base if name == BASE and base is not None else name
        if self._model not in listed:
            raise TrainingError(f"the server knows no {name!r}; it knows {', '.join(listed)}")
        self._is_policy = listed[self._model] == "policy"

    def log_probs(self, pairs: Sequence[Pair]) -> list[list[float]]:
        """Log-probabilities of each token of what follows. Errors as above."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(self._scored, pairs))

    def answer_losses(self, pairs: Sequence[Pair]) -> tuple[Sums, Sums]:
        """Refused: a server's tokenizer does not say what ends a text.

        Raises:
            TrainingError: always.
        """
        raise TrainingError(
            "the metric 'held_out' scores the end of text, which a server does not; "
            "measure 'loss', or use --base-model"
        )

    def generate(self, prompts: Sequence[str], max_tokens: int) -> list[str]:
        """Greedy answers. Errors as above."""

        def one(prompt: str) -> str:
            body = {"model": self._model, "prompt": prompt, "max_tokens": max_tokens}
            answer = self._ask("POST", "/v1/completions", {**body, "temperature": 0})
            return str(answer["choices"][0]["text"])

        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(one, prompts))

    def _scored(self, pair: Pair) -> list[float]:
        before, after = (self._tokens(text) for text in pair)
        body = {
            **self._named(pair[0]),
            "prompt": [*before, *after],
            "max_tokens": 1,
            "prompt_logprobs": 0,
            "temperature": 0,
        }
        scored = self._ask("POST", "/v1/completions", body)["choices"][0]["prompt_logprobs"]
        return [
            float(scored[position][str(token)]["logprob"])
            for position, token in enumerate(after, start=len(before))
        ]

    def _named(self, prompt: str) -> dict[str, Any]:
        """The model, or the mixture that a policy gives the prompt."""
        if not self._is_policy:
            return {"model": self._model}
        mixture = self._ask("POST", "/v1/route", {"prompt": prompt, "policy": self._model})[
            "mixture"
        ]
        if mixture.get("scope") == "token":
            raise TrainingError(
                f"the weights of {self.name} follow the answer: it has no loss of a given one; "
                "measure exact match"
            )
        wanted = {key: mixture[key] for key in ("adapters", "combination") if key in mixture}
        return {"mixture": wanted}

    def _tokens(self, text: str) -> list[int]:
        body = {"model": self._model, "prompt": text, "add_special_tokens": False}
        return [int(token) for token in self._ask("POST", "/tokenize", body)["tokens"]]

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        try:
            answer = self._http.request(method, path, json=body)
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise TrainingError(f"no server answers at {self._http.base_url}: {error}") from None
        if answer.is_error:
            raise TrainingError(f"{path}: {refusal(answer)}")
        content: dict[str, Any] = answer.json()
        return content


class ServedModels:
    """Names that a server knows.

    Args:
        url: of the server.
        names: base model, adapters, policies.
        key: API key, if it needs one.
    """

    def __init__(self, url: str, names: Sequence[str], key: str | None) -> None:
        self.where = url
        self.count = len(names)
        self.dtype: str | None = None
        self.weights: Mapping[str, str] = {}
        self._names = names
        self._key = key

    def fits(self, question: Question, tokens: int) -> bool:
        """Refused: the items of a server's models are not counted in tokens.

        Raises:
            TrainingError: always.
        """
        raise TrainingError("--item-tokens counts by the base model's tokenizer: use --base-model")

    def __iter__(self) -> Iterator[ServedModel]:
        """Each name in turn.

        Raises:
            TrainingError: the server cannot be reached, or does not know the name.
        """
        for name in self._names:
            yield ServedModel(self.where, name, self._key)
