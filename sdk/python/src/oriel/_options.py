"""What a session is made of, as `session()` takes it and as the API does. Defaults are the server's (docs/API.md), unless said otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional, TypedDict, Union

from . import models
from ._arguments import Seconds, given, unique_id, whole_seconds

# Starting a session takes a second or two; a machine that is busy takes longer.
START_TIMEOUT = 60.0
# If the program that made a session is killed, nobody uses the session any more.
IDLE_TIMEOUT = 3600
# Fields of a desktop, which go into its source as they are.
_DESKTOP = (
    "width",
    "height",
    "command",
    "env",
    "home",
    "fps",
    "bitrate_kbps",
    "max_width",
    "max_height",
    "audio",
    "microphone",
    "camera",
    "opengl",
    "cursor",
    "display",
)


class SessionOptions(TypedDict, total=False):
    """Keyword arguments of `session()`."""

    id: str
    """Its id; chosen here if absent. With one that is there with the same description, that session is taken over."""
    width: int
    """Pixels, even."""
    height: int
    """Pixels, even."""
    command: Union[str, list[str]]
    """A shell command line, or a program and its arguments. Absent: a small desktop."""
    env: dict[str, str]
    """Environment of the command."""
    home: str
    """`session`, `kept`, or a path that the configuration allows."""
    fps: int
    bitrate_kbps: int
    max_width: int
    """What it can be resized to."""
    max_height: int
    audio: bool
    microphone: bool
    camera: str
    """The device on which its programs see a peer's camera: `/dev/video10`."""
    opengl: bool
    """Without it, it takes 50 MB less and starts sooner."""
    cursor: models.CursorMode
    display: str
    """Attach to this X display, and start none."""
    source: models.SourceSpec
    """Another kind of session than a desktop; then none of the above."""
    sources: dict[str, models.SourceSpec]
    """Further sources, by name."""
    slots: int
    """How much can be shown at once."""
    restart: models.RestartSpec
    """Whether it is started again when it ends by itself."""
    placement: models.Placement
    """Which node of the cluster it runs on: `{"node": "node-3"}` or `{"labels": {"gpu": "yes"}}`; the one with the most room if absent. A server that is in
    no cluster ignores it."""
    expires: Seconds
    """It is deleted after so long in any case."""
    idle_timeout: Optional[Seconds]
    """It is deleted when nobody has used it for so long, as when this program was killed: an hour if absent; `None`: never."""
    start_timeout: float
    """How long its start may take, seconds: 60 if absent."""


def session_body(options: SessionOptions) -> dict[str, Any]:
    """The body of the request that makes it."""
    every: Mapping[str, Any] = {**options}
    unknown = set(options) - SessionOptions.__optional_keys__
    if unknown:
        raise TypeError(f"session() has no argument {min(unknown)!r}")
    desktop = {name: every[name] for name in _DESKTOP if every.get(name) is not None}
    source = options.get("source")
    if source is not None and desktop:
        raise TypeError(f"{min(desktop)!r} belongs into the source that is given")
    expires = options.get("expires")
    idle_timeout = options.get("idle_timeout", IDLE_TIMEOUT)
    body = given(
        id=options.get("id") or unique_id(),
        source=source or {"type": "desktop", **desktop},
        sources=options.get("sources"),
        slots=options.get("slots"),
        restart=options.get("restart"),
        placement=options.get("placement"),
        expires_in_s=None if expires is None else whole_seconds(expires),
        on_idle=None if idle_timeout is None else "delete",
    )
    # `null` is never; absent would be as the server is configured.
    body["idle_timeout_s"] = None if idle_timeout is None else whole_seconds(idle_timeout)
    return body
