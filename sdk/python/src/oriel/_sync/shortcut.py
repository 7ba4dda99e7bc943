# Made of _async/shortcut.py by tools/generate.py: change that.
"""One session with a client of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from .client import Client
from .session import Session

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .._options import SessionOptions


def session(
    *, url: Optional[str] = None, token: Optional[str] = None, **options: Unpack[SessionOptions]
) -> Session:
    """A desktop that exists while the body of its `with` runs: `Client(url, token).session(…)`, whose client is closed, too.

        with oriel.session(width=1280, height=720, command=["xterm"]) as s:
            s.type("date\\n")

    `url` and `token` are `ORIEL_URL` and `ORIEL_TOKEN` if absent. `SessionOptions` has the other arguments.
    """
    client = Client(url, token)
    session = client.session(**options)
    session._owns_client = True
    return session
