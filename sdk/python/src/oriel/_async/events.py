"""Events as they happen."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Optional

import httpx

from .. import _sse
from .._decode import decode_event
from ..errors import ApiError, ConnectionFailed, RequestTimeout, UnexpectedResponse
from ..models import DeletedEvent, Event
from .backend import sleep
from .transport import AsyncTransport

# The server sends a comment every 5 s when nothing happens.
SILENCE = 20.0
# Between attempts to come back, seconds; the longest.
PAUSE = 5.0


class AsyncEvents:
    """An iterator of events. It comes back from the last position when its connection is lost, and ends with the session whose events they are.

    `MissedEvent` stands in place of events that are lost: get the present state then. Enter it as a context to be told everything from
    that moment on; otherwise it begins with the first `next()`.
    """

    def __init__(
        self, transport: AsyncTransport, path: str, of: Optional[str], last_id: Optional[str], patience: float
    ) -> None:
        self._transport = transport
        self._path = path
        self._of = of
        self._patience = patience
        self._response: Optional[httpx.Response] = None
        self._chunks: Optional[AsyncIterator[bytes]] = None
        self._parser = _sse.Parser()
        self._messages: deque[_sse.Message] = deque()
        self._over = False
        self.last_id = last_id
        """The position: given to `events(last_id=…)`, it goes on from there, in another process, too."""

    async def __aenter__(self) -> AsyncEvents:
        await self._connect()
        return self

    async def __aexit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Leaves. Iterating ends."""
        self._over = True
        await self._disconnect()

    def __aiter__(self) -> AsyncEvents:
        return self

    async def __anext__(self) -> Event:
        while True:
            while self._messages:
                message = self._messages.popleft()
                if message.id is not None:
                    self.last_id = message.id
                if message.data is not None:
                    event = _parsed(message.data)
                    if isinstance(event, DeletedEvent) and event.streamer == self._of:
                        await self.close()
                    return event
            if self._over:
                raise StopAsyncIteration
            await self._more()

    async def _more(self) -> None:
        """Takes what comes next, from a new connection if that is lost."""
        failed = 0
        waited = 0.0
        while True:
            try:
                if self._chunks is None:
                    await self._connect()
                assert self._chunks is not None
                chunk = await self._chunks.__anext__()
                self._messages.extend(self._parser.push(chunk))
                return
            except StopAsyncIteration:
                # The server ended it: it is going away, or the session has.
                await self._disconnect()
                if self._over:
                    return
                if failed == 0:
                    failed = 1
                    continue
                error: Exception = ConnectionFailed("the event stream ended before it began", sent=False)
            except (ConnectionFailed, RequestTimeout) as lost:
                await self._disconnect()
                error = lost
            except ApiError as refused:
                await self._disconnect()
                if refused.status not in (429, 502, 503, 504):
                    raise
                error = refused
            pause = min(0.2 * 2.0**failed, PAUSE)
            if waited + pause > self._patience:
                raise error
            await sleep(pause)
            waited += pause
            failed += 1

    async def _connect(self) -> None:
        headers = {"accept": "text/event-stream"}
        if self.last_id is not None:
            headers["last-event-id"] = self.last_id
        self._response = await self._transport.stream(self._path, headers=headers, silence=SILENCE)
        self._chunks = self._transport.chunks(self._response)
        self._parser = _sse.Parser()

    async def _disconnect(self) -> None:
        response, self._response, self._chunks = self._response, None, None
        if response is not None:
            await response.aclose()


def _parsed(data: str) -> Event:
    try:
        return decode_event(json.loads(data))
    except ValueError as error:
        raise UnexpectedResponse("the data of an event is not JSON") from error
