"""What the synchronous face needs of its runtime: threads."""

from __future__ import annotations

import threading
import time
from typing import Callable, Optional, TypeVar

T = TypeVar("T")


def sleep(seconds: float) -> None:
    time.sleep(seconds)


def finished(work: Callable[[], T]) -> T:
    """The result of `work`."""
    return work()


class Background:
    """Work beside the caller's: a thread."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._error: Optional[Exception] = None

        def run() -> None:
            try:
                work()
            except Exception as error:  # noqa: BLE001 - `join()` gives it to the caller
                self._error = error

        # A program that ends is not kept by it.
        self._thread = threading.Thread(target=run, name="oriel", daemon=True)
        self._thread.start()

    def join(self) -> Optional[Exception]:
        """Waits for its end; gives the error with which it ended."""
        self._thread.join()
        return self._error
