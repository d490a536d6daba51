"""A small memory of recent embeddings: chats and agents send the same text again and again."""

from collections import OrderedDict
from hashlib import blake2b
from threading import Lock

import numpy as np
import numpy.typing as npt

Embedding = npt.NDArray[np.float32]


class EmbeddingCache:
    """Least-recently-used embeddings by the digest of their text; thread-safe.

    Texts are not kept, only their digests, so the memory holds no user's words.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._embeddings: OrderedDict[bytes, Embedding] = OrderedDict()
        self._lock = Lock()

    def get(self, text: str) -> Embedding | None:
        """The text's embedding [d], or None if it is not remembered."""
        key = _key(text)
        with self._lock:
            embedding = self._embeddings.get(key)
            if embedding is not None:
                self._embeddings.move_to_end(key)
            return embedding

    def put(self, text: str, embedding: Embedding) -> None:
        """Remember one embedding [d]; the oldest goes when there are too many."""
        embedding.flags.writeable = False
        with self._lock:
            self._embeddings[_key(text)] = embedding
            self._embeddings.move_to_end(_key(text))
            while len(self._embeddings) > self._capacity:
                self._embeddings.popitem(last=False)

    def __len__(self) -> int:
        return len(self._embeddings)


def _key(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=16).digest()
