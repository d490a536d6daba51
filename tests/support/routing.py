"""Texts of three kinds, and a router that tells what it embeds."""

from router.policies.config import parse_policy

TEXTS = {
    "maths": ("Tom has 3 apples and buys 4 more. How many apples has he?", "What is 12 times 7?"),
    "code": ("Write a Python function that sorts a list.", "Fix this SQL query."),
    "science": ("Which gas do plants take in for photosynthesis?", "What force moves planets?"),
}
SUM = "Anna had 12 pears and ate 5. How many pears are left?"


class CountingEncoder:
    """The real encoder, counting the texts it is given."""

    def __init__(self, encoder):
        self._encoder, self.texts = encoder, []

    def __getattr__(self, name):
        return getattr(self._encoder, name)

    def encode(self, texts):
        self.texts.extend(texts)
        return self._encoder.encode(texts)


def with_policy(router, **raw):
    router.put_policy("mine", parse_policy("mine", raw))
    return router
