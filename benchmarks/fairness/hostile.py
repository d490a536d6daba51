"""One key's workers, in a process of their own: each sends its next request when it has an answer.

python -m benchmarks.fairness.hostile URL KEY, then lines: the title of an attack, or "stop"
"""

import http.client
import itertools
import sys
import threading
from collections import Counter
from typing import Final
from urllib.parse import urlsplit

from benchmarks.fairness.attacks import ATTACKS, MANY, WORKERS, Attack, full_prompt, ordinary

ORDINARY: Final = {
    WORKERS: Attack("ordinary requests", "/v1/completions", ordinary),
    MANY: Attack("many ordinary requests", "/v1/completions", ordinary, workers=MANY),
    2 * MANY: Attack("very many ordinary requests", "/v1/completions", ordinary, workers=2 * MANY),
}
"""Workers → what an attack of as many is held against."""

ONE_PROMPT: Final = Attack(
    "one full-length prompt after another", "/v1/completions", full_prompt, 1
)
LOADS: Final = {one.title: one for one in (*ATTACKS, *ORDINARY.values(), ONE_PROMPT)}
PIECE: Final = 2**16


class Workers:
    """The workers of one attack, until they are told to stop."""

    def __init__(self, url: str, key: str, attack: Attack, numbers: "itertools.count[int]") -> None:
        self._address = urlsplit(url).netloc
        self._headers = {
            "Authorization": f"Bearer {key}",
            "Content-Type": "application/json",
            **attack.headers,
        }
        self._attack = attack
        self._numbers = numbers
        self._stopped = threading.Event()
        self._open: set[http.client.HTTPConnection] = set()
        self.answers: Counter[int] = Counter()
        self._threads = [threading.Thread(target=self._work) for _ in range(attack.workers)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Leave, whatever is still being answered."""
        self._stopped.set()
        for connection in list(self._open):
            if connection.sock is not None:
                connection.sock.shutdown(2)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while not self._stopped.is_set():
            connection = http.client.HTTPConnection(self._address, timeout=600)
            self._open.add(connection)
            try:
                self._ask(connection)
            except (OSError, http.client.HTTPException):
                self.answers[0] += 1  # what the server cuts short is as good as an answer
            finally:
                self._open.discard(connection)
                connection.close()

    def _ask(self, connection: http.client.HTTPConnection) -> None:
        attack = self._attack
        body = attack.body(next(self._numbers))
        connection.request(attack.method, attack.path, body, self._headers)
        answer = connection.getresponse()
        while answer.read(PIECE):
            if self._stopped.is_set():
                return
        self.answers[answer.status] += 1


def main() -> None:
    """Begin and end attacks as the lines of the input say; tell the statuses of each."""
    url, key = sys.argv[1:]
    numbers, workers = itertools.count(), None
    for line in sys.stdin:
        if workers is not None:
            workers.stop()
            print(dict(workers.answers), flush=True)
            workers = None
        if line.strip() != "stop":
            workers = Workers(url, key, LOADS[line.strip()], numbers)


if __name__ == "__main__":
    main()
