"""When a request is repeated. Pure: it is told what happened, and says how long to wait."""

from __future__ import annotations

from typing import Optional

from .errors import ApiError, ConnectionFailed

# The first pause, seconds; each further one is twice as long.
FIRST_PAUSE = 0.2
# A longer `Retry-After` is not waited for, seconds: the error says it, and the caller decides.
LONGEST_PAUSE = 10.0
# Refusals that are made before a request is looked at, so that nothing of it has been carried out.
_UNREAD = {"too_many_requests"}


def pause(error: Exception, *, repeated: int, repeatable: bool, retries: int) -> Optional[float]:
    """Seconds after which the request is sent again; `None`: it is not.

    `repeatable` says that carrying it out twice does no more than once. Only such requests are repeated after a
    connection broke, or after a refusal whose cause is not known to come before its execution.
    """
    if repeated >= retries:
        return None
    if isinstance(error, ConnectionFailed):
        if error.sent and not repeatable:
            return None
        return FIRST_PAUSE * 2.0**repeated
    if isinstance(error, ApiError) and error.retry_after is not None and error.status in (429, 503):
        if not repeatable and error.code not in _UNREAD:
            return None
        return max(error.retry_after, FIRST_PAUSE) if error.retry_after <= LONGEST_PAUSE else None
    return None
