"""What the asynchronous face needs of its runtime, asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Callable, Optional, TypeVar

T = TypeVar("T")


async def sleep(seconds: float) -> None:
    await asyncio.sleep(seconds)


async def finished(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """The result of `work`, which a cancellation of the caller does not interrupt: cleaning up ends before it is passed on."""
    task = asyncio.ensure_future(work())
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


class Background:
    """Work beside the caller's: a task."""

    def __init__(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._task = asyncio.ensure_future(work())

    async def join(self) -> Optional[Exception]:
        """Waits for its end; gives the error with which it ended."""
        await asyncio.wait([self._task])
        error = None if self._task.cancelled() else self._task.exception()
        return error if isinstance(error, Exception) else None
