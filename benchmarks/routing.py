"""What routing adds to a request: encoding the text and weighing the adapters, in milliseconds."""

import time
from statistics import median

from router.centroids.centroid import centroid
from router.centroids.index import CentroidIndex
from router.encoders import make_encoder
from router.policies.config import DEFAULT_POLICIES, load_policies
from router.router import Router
from server.prepare import encoder_path

TOPICS = {
    "maths": "word problems with numbers, prices and ages",
    "science": "questions on biology, physics and chemistry",
    "code": "write a function in Python",
    "reading": "answer a question about a paragraph of text",
}
PROMPTS = {
    "short prompt (8 words)": "How much do five pens cost at $2?",
    "long prompt (300 words)": "The merchant counted the silver coins again. " * 43,
}
REPEATS = 30


def measure() -> dict[str, float]:
    """Median milliseconds of one routing decision, by kind of prompt, on one thread."""
    encoder = make_encoder(str(encoder_path()))
    router = Router(encoder, CentroidIndex(), load_policies(DEFAULT_POLICIES))
    for name, text in TOPICS.items():
        router.index.put(name, name, centroid(encoder, [text]))
    found = {}
    for title, prompt in PROMPTS.items():
        taken = []
        for repeat in range(REPEATS):
            begin = time.perf_counter()
            router.route(f"{repeat} {prompt} {repeat}", "auto")  # never the same window: no cache
            taken.append(1000 * (time.perf_counter() - begin))
        found[title] = median(taken)
    return found
