"""Looks at the keys of the database again and again, in a thread of its own.

Whatever else the server is busy with, a key that another process makes or revokes counts here
within a second.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from adapters.errors import StorageFailed
from server.access.authentication import Callers
from server.access.rows import KeyRows

logger = logging.getLogger(__name__)

EVERY_S: Final = 0.5
NOTED_EVERY_S: Final = 30.0
"""How often it is written down when keys were last used."""


class KeyRefresh:
    """Keeps callers in step with a database, from the moment that it is made.

    Raises:
        StorageFailed: the database refused the first time.
    """

    def __init__(self, rows: KeyRows, callers: Callers) -> None:
        self._rows = rows
        self._callers = callers
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="api-keys", daemon=True)
        self._noted = time.monotonic()
        self._failing = False
        self._mark = rows.mark()
        callers.take(rows.stored())

    def start(self) -> None:
        """Begin to look: once before this returns.

        An engine may have taken minutes to start since the keys were read the first time.
        """
        self._try(self.look)
        self._thread.start()

    def stop(self) -> None:
        """End, and note when keys were last used."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        self._try(self._note)

    def look(self) -> None:
        """Look once.

        Raises:
            StorageFailed: the database refused; the keys stay as they were.
        """
        # Marked first: a key that comes or goes in between is found again the next time.
        mark = self._rows.mark()
        if mark == self._mark:
            self._callers.confirm()
        else:
            self._callers.take(self._rows.stored())
            self._mark = mark

    def _run(self) -> None:
        while not self._stopping.wait(EVERY_S):
            self._try(self.look)
            if time.monotonic() - self._noted > NOTED_EVERY_S:
                self._try(self._note)

    def _note(self) -> None:
        self._noted = time.monotonic()
        used = self._callers.taken_uses()
        if used:
            self._rows.used(used)

    def _try(self, work: Callable[[], None]) -> None:
        """Do something with the database; a failure is told once, and tried again later."""
        try:
            work()
        except StorageFailed as error:
            if not self._failing:
                logger.warning("%s; trying again", error)
            self._failing = True
        else:
            self._failing = False
