"""Oriel: headless interactive sessions, seen and steered from Python.

    import oriel

    with oriel.session(width=1280, height=720, command=["xterm"]) as s:
        s.wait_until_still()
        s.type("date\\n")
        s.screenshot().save("now.png")

`AsyncClient` and `async_session()` are the same for asyncio.
"""

from __future__ import annotations

from . import models
from ._async.client import AsyncClient, AsyncInvite
from ._async.events import AsyncEvents
from ._async.media import AsyncMp4, AsyncRecording
from ._async.session import AsyncClipboard, AsyncSession
from ._async.shortcut import async_session
from ._options import SessionOptions
from ._picture import Screenshot
from ._sync.client import Client, Invite
from ._sync.events import Events
from ._sync.media import Mp4, Recording
from ._sync.session import Clipboard, Session
from ._sync.shortcut import session
from ._version import __version__
from .errors import (
    ApiError,
    Conflict,
    ConnectionFailed,
    Forbidden,
    InvalidRequest,
    LimitReached,
    NotFound,
    OrielError,
    RequestTimeout,
    ServerError,
    SessionUnavailable,
    StartFailed,
    Unauthorized,
    UnexpectedResponse,
    WaitTimeout,
)

__all__ = [
    "ApiError",
    "AsyncClient",
    "AsyncClipboard",
    "AsyncEvents",
    "AsyncInvite",
    "AsyncMp4",
    "AsyncRecording",
    "AsyncSession",
    "Client",
    "Clipboard",
    "Conflict",
    "ConnectionFailed",
    "Events",
    "Forbidden",
    "InvalidRequest",
    "Invite",
    "LimitReached",
    "Mp4",
    "NotFound",
    "OrielError",
    "Recording",
    "RequestTimeout",
    "Screenshot",
    "ServerError",
    "Session",
    "SessionOptions",
    "SessionUnavailable",
    "StartFailed",
    "Unauthorized",
    "UnexpectedResponse",
    "WaitTimeout",
    "__version__",
    "async_session",
    "models",
    "session",
]
