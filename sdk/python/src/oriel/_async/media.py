"""Live MP4 of a session, into a file or wherever its bytes go."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import IO, Optional, Union

import httpx

from .._mp4 import Pieces
from ..errors import ConnectionFailed
from .backend import Background
from .transport import AsyncTransport

# A picture that stands still comes once a second; a source that comes back takes some seconds.
SILENCE = 30.0


class AsyncMp4:
    """An iterator of the pieces of a live MP4: its header, then fragment by fragment. A file may end after each of them."""

    def __init__(self, transport: AsyncTransport, path: str) -> None:
        self._transport = transport
        self._path = path
        self._response: Optional[httpx.Response] = None
        self._chunks: Optional[AsyncIterator[bytes]] = None
        self._splitter = Pieces()
        self._pieces: deque[bytes] = deque()

    async def __aenter__(self) -> AsyncMp4:
        self._response = await self._transport.stream(self._path, silence=SILENCE)
        self._chunks = self._transport.chunks(self._response)
        return self

    async def __aexit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the reading."""
        response, self._response, self._chunks = self._response, None, None
        if response is not None:
            await response.aclose()

    def __aiter__(self) -> AsyncMp4:
        return self

    async def __anext__(self) -> bytes:
        if self._chunks is None:
            raise StopAsyncIteration
        while not self._pieces:
            self._pieces.extend(self._splitter.push(await self._chunks.__anext__()))
        return self._pieces.popleft()


class AsyncRecording:
    """A file that is written while the body of its `with` runs."""

    def __init__(self, stream: AsyncMp4, path: Union[str, os.PathLike[str]]) -> None:
        self.path: Path = Path(path)
        self._stream = stream
        self._stop = False
        self._file: Optional[IO[bytes]] = None
        self._background: Optional[Background] = None

    async def __aenter__(self) -> AsyncRecording:
        await self._stream.__aenter__()
        try:
            self._file = self.path.open("wb")
            # With the header, and the first picture, in it: what happens from here on is recorded.
            for _ in range(2):
                self._file.write(await self._stream.__anext__())
        except BaseException as error:
            await self._close()
            if isinstance(error, StopAsyncIteration):
                raise ConnectionFailed("the stream ended before its first picture", sent=True) from error
            raise
        self._background = Background(self._write)
        return self

    async def __aexit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self._stop = True
        failure = await self._background.join() if self._background is not None else None
        await self._close()
        if failure is not None and error is None:
            raise failure

    async def _write(self) -> None:
        """Up to the end of the fragment during which it was told to stop. One comes every second."""
        assert self._file is not None
        async for piece in self._stream:
            self._file.write(piece)
            if self._stop:
                return

    async def _close(self) -> None:
        if self._file is not None:
            self._file.close()
        await self._stream.close()


async def record(stream: AsyncMp4, path: Union[str, os.PathLike[str]], seconds: float) -> None:
    """Writes `seconds` of a stream to a file."""
    async with stream:
        with Path(path).open("wb") as file:
            end: Optional[float] = None
            async for piece in stream:
                file.write(piece)
                # Counted from the first picture.
                now = time.monotonic()
                end = now + seconds if end is None else end
                if now >= end:
                    return
    raise ConnectionFailed(f"the stream ended before {seconds} s of it were recorded", sent=True)
