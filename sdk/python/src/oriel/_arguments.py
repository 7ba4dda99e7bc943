"""What callers give, as the API takes it."""

from __future__ import annotations

import os
import secrets
from datetime import timedelta
from typing import Any, Optional, Union
from urllib.parse import quote, urlsplit

Seconds = Union[int, float, timedelta]
DEFAULT_URL = "http://127.0.0.1:8080"


def server_url(url: Optional[str]) -> str:
    """Where the server is: as given, or `ORIEL_URL`, or on this machine. Ends with a slash."""
    url = url or os.environ.get("ORIEL_URL") or DEFAULT_URL
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"the URL of the server begins with http:// or https://, not as in {url!r}")
    if parts.query or parts.fragment or parts.username is not None:
        raise ValueError("the URL of the server has no query, fragment or user; a token is given as token=")
    return url.rstrip("/") + "/"


def server_token(token: Optional[str]) -> Optional[str]:
    """The token or admin secret: as given, or `ORIEL_TOKEN`."""
    token = token if token is not None else os.environ.get("ORIEL_TOKEN")
    token = token.strip() if token else None
    if token and not (token.isascii() and token.isprintable() and " " not in token):
        raise ValueError("the token has characters that no token has")
    return token or None


def whole_seconds(value: Seconds) -> int:
    """A duration as the API takes it, at least a second."""
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    return max(1, round(seconds))


def given(**fields: Any) -> dict[str, Any]:
    """The fields that are not `None`: what is absent has the server's default."""
    return {name: value for name, value in fields.items() if value is not None}


def segment(text: Union[str, int]) -> str:
    """A part of a path; never one that names another place."""
    if str(text) in ("", ".", ".."):
        raise ValueError(f"{text!r} is no id")
    return quote(str(text), safe="")


def unique_id() -> str:
    """An id for a new session. The client chooses it, so that a request whose answer was lost can be repeated."""
    return f"py-{secrets.token_hex(8)}"
