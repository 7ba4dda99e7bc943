"""What goes wrong, as exceptions. All of them are `OrielError`."""

from __future__ import annotations

from typing import Optional


class OrielError(Exception):
    """Anything that this package raises on its own account."""


class ConnectionFailed(OrielError, ConnectionError):
    """The server was not reached, or the connection broke before its answer was complete.

    `sent` says whether the request may have been carried out nevertheless.
    """

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class RequestTimeout(OrielError, TimeoutError):
    """The server did not answer in time. The request may have been carried out nevertheless."""


class WaitTimeout(OrielError, TimeoutError):
    """What was waited for did not come. `screenshot` is the last picture, where pictures were compared."""

    def __init__(self, message: str, *, screenshot: Optional[bytes] = None) -> None:
        super().__init__(message)
        self.screenshot = screenshot


class UnexpectedResponse(OrielError):
    """Something answered that is not an Oriel server, or one that this version of the package does not understand."""


class ApiError(OrielError):
    """The server refused a request, or failed to carry it out: an RFC 9457 problem."""

    def __init__(
        self,
        *,
        status: int,
        code: str,
        detail: str,
        title: str = "",
        field: Optional[str] = None,
        request_id: Optional[str] = None,
        retry_after: Optional[float] = None,
    ) -> None:
        super().__init__(f"{detail} ({status} {code})")
        self.status = status
        """HTTP status."""
        self.code = code
        """Stable, for programs: `invalid_field`, `streamer_not_found` and the like."""
        self.detail = detail
        """What is wrong, for people."""
        self.title = title
        self.field = field
        """The part of the request that is wrong: `source.width`."""
        self.request_id = request_id
        """Finds the request in the server's log."""
        self.retry_after = retry_after
        """Seconds after which a repetition may succeed, where the server says so."""


class InvalidRequest(ApiError):
    """A part of the request is wrong; `field` says which (400, 413 and the like)."""


class StartFailed(ApiError):
    """What the session was to run did not start; `detail` has the end of its output."""


class Unauthorized(ApiError):
    """No token, or not a valid one (401)."""


class Forbidden(ApiError):
    """The token does not permit it, or the configuration does not allow it (403)."""


class NotFound(ApiError):
    """There is no such session, slot, window, host or the like (404)."""


class Conflict(ApiError):
    """It does not go with the present state (409): the id is taken, no slot is free, somebody else has control."""


class SessionUnavailable(ApiError):
    """The session cannot answer now: it starts, stops, moves to another node, was replaced, hangs or has failed (409, 502, 503, 504)."""


class LimitReached(ApiError):
    """Too many or too much (429): requests, sessions, peers."""


class ServerError(ApiError):
    """The server failed, or cannot take on work (5xx)."""


_START = {"command_failed", "source_failed"}
_SESSION = {
    "streamer_starting",
    "streamer_restarting",
    "streamer_stopped",
    "streamer_stopping",
    "streamer_failed",
    "streamer_moved",
    "streamer_gone",
    "streamer_busy",
    "streamer_timeout",
    "streamer_protocol",
    "source_offline",
    "stalled",
    "clipboard_timeout",
}
_BY_STATUS = {401: Unauthorized, 403: Forbidden, 404: NotFound, 409: Conflict, 429: LimitReached}


def class_of(status: int, code: str) -> type[ApiError]:
    """The class of a problem: by its code where that says more than the status."""
    if code in _START:
        return StartFailed
    if code in _SESSION:
        return SessionUnavailable
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return InvalidRequest if status < 500 else ServerError
