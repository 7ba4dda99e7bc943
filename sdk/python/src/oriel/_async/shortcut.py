"""One session with a client of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from .client import AsyncClient
from .session import AsyncSession

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .._options import SessionOptions


def async_session(
    *, url: Optional[str] = None, token: Optional[str] = None, **options: Unpack[SessionOptions]
) -> AsyncSession:
    """A desktop that exists while the body of its `with` runs: `AsyncClient(url, token).session(…)`, whose client is closed, too.

        async with oriel.async_session(width=1280, height=720, command=["xterm"]) as s:
            await s.type("date\\n")

    `url` and `token` are `ORIEL_URL` and `ORIEL_TOKEN` if absent. `SessionOptions` has the other arguments.
    """
    client = AsyncClient(url, token)
    session = client.session(**options)
    session._owns_client = True
    return session
