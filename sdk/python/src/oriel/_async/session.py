"""One session: to see it, to steer it, and what belongs to it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Optional, Union

from .. import models
from .._arguments import Seconds, given, segment, whole_seconds
from .._keys import chord, code
from .._picture import Screenshot, differing_pixels
from ..errors import NotFound, OrielError, WaitTimeout
from ..models import ButtonOrName, InputCommand, Role, SlotSource, SourceSpec
from . import media
from .backend import finished, sleep
from .events import AsyncEvents
from .files import AsyncFiles
from .media import AsyncMp4, AsyncRecording

if TYPE_CHECKING:
    from .client import AsyncClient, AsyncInvite, Right

# The longest text of one input event, characters.
MAX_TYPED = 4096
# Between two looks at something that is waited for, seconds. A snapshot is up to a tenth of a second old.
INTERVAL = 0.1


class AsyncSession:
    """A session of `client.session()`, which is there while its `with` runs, or of `client.attach()`.

    Positions are pixels of the picture, which `screenshot()` shows.
    """

    def __init__(
        self,
        client: AsyncClient,
        *,
        id: Optional[str] = None,
        create: Optional[Mapping[str, Any]] = None,
        id_is_ours: bool = False,
        start_timeout: float = 0.0,
    ) -> None:
        id = str(create["id"] if create is not None else id)
        self.id = id
        self.clipboard: AsyncClipboard = AsyncClipboard(client, id)
        self.files: AsyncFiles = AsyncFiles(client, id)
        self._client = client
        self._transport = client._transport
        self._path = f"api/streamers/{segment(id)}"
        self._create = create
        self._id_is_ours = id_is_ours
        self._start_timeout = start_timeout
        # `async_session()` has a client for this session alone.
        self._owns_client = False
        # Whether it is to be deleted at the end.
        self._is_ours = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} at {self._client.url}>"

    # ------------------------------------------------------------ its life

    async def __aenter__(self) -> AsyncSession:
        await self.start()
        return self

    async def __aexit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        try:
            await self.close()
        except OrielError:
            # What went wrong in the body says more.
            if error is None:
                raise

    async def start(self) -> None:
        """Makes the session, and waits until it runs. Entering it as a context does this."""
        if self._create is None or self._is_ours:
            return
        # Until an answer comes, an id of the caller's may be somebody else's.
        self._is_ours = self._id_is_ours
        try:
            await self._make(wait=False)
            self._is_ours = True
            # The same again is harmless, and waits.
            await self._make(wait=True)
        except BaseException:
            # If that fails, too, the server deletes it when it has been idle.
            with suppress(OrielError):
                await self.close()
            raise

    async def _make(self, *, wait: bool) -> None:
        await self._transport.request(
            "POST",
            "api/streamers",
            body=self._create,
            query={"wait": "running"} if wait else None,
            repeatable=True,
            timeout=self._start_timeout,
        )

    async def close(self) -> None:
        """Deletes the session with everything that it started, if it was made here. Leaving the context does this."""
        try:
            if self._is_ours:
                await finished(self.delete)
                self._is_ours = False
        finally:
            if self._owns_client:
                await self._client.close()

    async def delete(self) -> None:
        """Deletes the session, whoever made it. One that is gone already is no error."""
        with suppress(NotFound):
            await self._client.streamers.delete(self.id)

    async def get(self) -> models.Streamer:
        """State, peers, slots and counters."""
        return await self._client.streamers.get(self.id)

    async def restart(self) -> models.Streamer:
        """Replaces its process by a new one of the same description."""
        return await self._transport.json(models.Streamer, "POST", f"{self._path}/restart")

    async def relocate(self, *, node: Optional[str] = None, labels: Optional[dict[str, str]] = None) -> models.Streamer:
        """Moves it to another node of the cluster: `node`, or the one with the most room of those that have `labels`, which are those of its creation if absent.

        It is started anew there, with its description, lifetime, sources and slots: what its programs had in memory is lost, and its home stays behind.
        Gives it as `restarting`, with its new node; `get().state` is `running` when it runs there. Moved to the node that has it, it stays as it is.
        Raises `NotFound` where there is no such session or the server is in no cluster, `Conflict` while it is being created or others move it, and
        `ServerError` if no other node can take it (`no_capacity`) or NATS is not reached (`cluster_unreachable`).
        """
        body = given(node=node, labels=labels)
        # Without a node, a second time moves it once more.
        repeatable = node is not None
        return await self._transport.json(
            models.Streamer, "POST", f"{self._path}/move", body=body, repeatable=repeatable
        )

    async def update(
        self,
        *,
        expires: Union[Seconds, Literal["unchanged"], None] = "unchanged",
        idle_timeout: Union[Seconds, Literal["unchanged"], None] = "unchanged",
        on_idle: Optional[models.OnIdle] = None,
    ) -> models.Streamer:
        """Changes its lifetime, counted from now; `None`: for ever."""
        body: dict[str, Any] = given(on_idle=on_idle)
        for name, value in (("expires_in_s", expires), ("idle_timeout_s", idle_timeout)):
            if not isinstance(value, str):
                body[name] = None if value is None else whole_seconds(value)
        return await self._transport.json(models.Streamer, "PATCH", self._path, body=body, repeatable=True)

    async def logs(self, tail: int = 100) -> list[str]:
        """The last lines of its log."""
        return (await self._transport.json(models.LogTail, "GET", f"{self._path}/logs", query={"tail": tail})).lines

    async def audit(self, *, limit: int = 100, before: Optional[int] = None) -> list[models.AuditEntry]:
        """Who did what with it, the newest first."""
        query = given(limit=limit, before=before)
        return (await self._transport.json(models.AuditList, "GET", f"{self._path}/audit", query=query)).entries

    def events(self, *, last_id: Optional[str] = None, patience: float = 60.0) -> AsyncEvents:
        """Its events, as they happen, until it is deleted."""
        return self._client.events(self.id, last_id=last_id, patience=patience)

    # ------------------------------------------------------------ seeing

    @property
    def url(self) -> str:
        """Its page. Where the server asks for a token, `invite()` gives a link with one."""
        return f"{self._client.public_url}s/{segment(self.id)}"

    async def screenshot(
        self,
        *,
        width: Optional[int] = None,
        format: Optional[models.SnapshotFormat] = None,
        slot: Optional[int] = None,
        unless: Optional[Screenshot] = None,
    ) -> Screenshot:
        """What it shows now, as the bytes of a PNG; `.image()` of it is a Pillow image.

        With `width` it is scaled down, and positions in it are no longer those of the picture. With an earlier one of the same form
        as `unless`, that one is returned while the picture looks the same, and nothing is encoded or sent.
        """
        query = given(width=width, format=format, slot=slot)
        headers = {} if unless is None or unless.etag is None else {"if-none-match": unless.etag}
        response = await self._transport.request("GET", f"{self._path}/snapshot", query=query, headers=headers)
        if response.status_code == 304 and unless is not None:
            return unless
        picture = Screenshot(response.content)
        picture.etag = response.headers.get("etag")
        return picture

    async def wait_until_still(
        self, timeout: float = 10.0, *, still_for: float = 0.5, tolerance: int = 0, slot: Optional[int] = None
    ) -> Screenshot:
        """Waits until the picture has not changed for `still_for` seconds, and gives it.

        `tolerance` is how many pixels may change all the same, as a blinking caret does; it needs Pillow. Raises `WaitTimeout`.
        """
        begin = time.monotonic()
        since, last = begin, await self.screenshot(slot=slot)
        while True:
            await sleep(INTERVAL)
            picture = await self.screenshot(slot=slot, unless=last)
            now = time.monotonic()
            if picture != last and (tolerance == 0 or differing_pixels(last, picture) > tolerance):
                since, last = now, picture
            elif now - since >= still_for:
                return picture
            if now - begin >= timeout:
                raise WaitTimeout(f"the picture still changed after {timeout} s", screenshot=picture)

    async def wait_for_window(
        self, title: Optional[str] = None, *, app: Optional[str] = None, timeout: float = 10.0
    ) -> models.Window:
        """Waits for a window whose title contains `title`, and whose program is `app`, without regard to case. Raises `WaitTimeout`."""

        def fits(window: models.Window) -> bool:
            return (title is None or title.lower() in window.title.lower()) and (
                app is None or app.lower() == window.app.lower()
            )

        deadline = time.monotonic() + timeout
        while True:
            windows = await self.windows()
            found = next(filter(fits, windows), None)
            if found is not None:
                return found
            if time.monotonic() >= deadline:
                there = ", ".join(repr(window.title) for window in windows) or "none"
                raise WaitTimeout(f"there was no such window after {timeout} s; there are: {there}")
            await sleep(INTERVAL)

    async def windows(self) -> list[models.Window]:
        """Its windows, the topmost first."""
        return (await self._transport.json(models.WindowList, "GET", f"{self._path}/windows")).windows

    def mp4(self, source: str = "main") -> AsyncMp4:
        """A source as live fragmented MP4: to be entered as a context, then iterated over."""
        return AsyncMp4(self._transport, f"{self._path}/streams/{segment(source)}.mp4")

    async def record(self, path: Union[str, os.PathLike[str]], seconds: float, *, source: str = "main") -> None:
        """Records so many seconds into an MP4 file."""
        await media.record(self.mp4(source), path, seconds)

    def recording(self, path: Union[str, os.PathLike[str]], *, source: str = "main") -> AsyncRecording:
        """Records into an MP4 file what happens while the body of its `with` runs."""
        return AsyncRecording(self.mp4(source), path)

    # ------------------------------------------------------------ steering

    async def input(self, events: Sequence[InputCommand], *, slot: Optional[int] = None) -> None:
        """Carries out events as docs/API.md has them. None is carried out if one is wrong."""
        # Of what takes time, the server refuses more than 30 s in one request; typing takes about 1 ms a character, and more for emoji.
        await self._transport.request(
            "POST",
            f"{self._path}/input",
            body=given(events=list(events), slot=slot),
            timeout=self._transport.timeout + 60.0,
        )

    async def type(self, text: str) -> None:
        """Types a text, whatever the keyboard layout; `\\n` is Enter."""
        for at in range(0, len(text), MAX_TYPED):
            await self.input([{"type": "text", "text": text[at : at + MAX_TYPED]}])

    async def key(self, *combinations: str) -> None:
        """Presses and releases keys, one combination after the other: `key("ctrl+l")`, `key("Tab", "Tab", "Return")`.

        Names are those of X and of people, without regard to case (`esc`, `Page_Up`, `F5`, `super`), and codes of UI Events (`NumpadEnter`).
        """
        await self.input([{"type": "chord", "codes": chord(combination)} for combination in combinations])

    async def key_down(self, name: str, *, hold: float = 2.0) -> None:
        """Presses a key. It is released by `key_up()`, or by itself after `hold` seconds, at most 60."""
        await self.input([{"type": "key", "code": code(name), "action": "down", "hold_ms": round(hold * 1000)}])

    async def key_up(self, name: str) -> None:
        """Releases a key."""
        await self.input([{"type": "key", "code": code(name), "action": "up"}])

    async def click(
        self, x: Optional[float] = None, y: Optional[float] = None, *, button: ButtonOrName = "left", count: int = 1
    ) -> None:
        """Clicks, where the pointer is if no position is given."""
        command: models.ClickInput = {"type": "click", "button": button, "count": count}
        at = _position(x, y)
        if at is not None:
            command["at"] = at
        await self.input([command])

    async def double_click(
        self, x: Optional[float] = None, y: Optional[float] = None, *, button: ButtonOrName = "left"
    ) -> None:
        """Clicks twice."""
        await self.click(x, y, button=button, count=2)

    async def right_click(self, x: Optional[float] = None, y: Optional[float] = None) -> None:
        """Clicks with the right button."""
        await self.click(x, y, button="right")

    async def move(self, x: float, y: float) -> None:
        """Moves the pointer to a position."""
        await self.input([{"type": "move", "at": {"x": x, "y": y}}])

    async def move_by(self, dx: float, dy: float) -> None:
        """Moves the pointer by a distance."""
        await self.input([{"type": "move", "dx": dx, "dy": dy}])

    async def drag(
        self,
        from_: tuple[float, float],
        to: tuple[float, float],
        *,
        button: ButtonOrName = "left",
        duration: float = 0.2,
    ) -> None:
        """Drags what lies at one position to another; takes `duration` seconds, at most 10."""
        await self.input(
            [
                {
                    "type": "drag",
                    "from": {"x": from_[0], "y": from_[1]},
                    "to": {"x": to[0], "y": to[1]},
                    "button": button,
                    "duration_ms": round(duration * 1000),
                }
            ]
        )

    async def scroll(
        self, dy: float = 0.0, dx: float = 0.0, *, x: Optional[float] = None, y: Optional[float] = None
    ) -> None:
        """Turns the wheel by so many notches: down and to the right if positive."""
        command: models.WheelInput = {"type": "wheel", "dy": dy, "dx": dx}
        at = _position(x, y)
        if at is not None:
            command["at"] = at
        await self.input([command])

    async def resize(self, width: int, height: int) -> None:
        """Changes the size of the desktop."""
        body = {"width": width, "height": height}
        await self._transport.request("POST", f"{self._path}/resize", body=body, repeatable=True)

    async def size(self) -> tuple[int, int]:
        """Width and height of its picture, pixels."""
        return (await self.screenshot()).size

    # ------------------------------------------------------------ sources and slots

    async def sources(self) -> list[models.Source]:
        """What it can show, and in what state that is."""
        return (await self._transport.json(models.SourceList, "GET", f"{self._path}/sources")).sources

    async def add_source(self, name: str, source: SourceSpec) -> None:
        """Adds a source by name: a camera, a file."""
        await self._transport.request("POST", f"{self._path}/sources", body={"name": name, "source": source})

    async def remove_source(self, name: str) -> None:
        """Removes a source."""
        await self._transport.request("DELETE", f"{self._path}/sources/{segment(name)}")

    async def show(
        self, source: SlotSource, *, slot: Optional[int] = None, quality: Optional[str] = None
    ) -> models.StreamInfo:
        """Shows a source, by its name or as described, to everybody: in this slot, or in the first that is free."""
        body = given(source=source, quality=quality)
        if slot is None:
            return await self._transport.json(models.StreamInfo, "POST", f"{self._path}/slots", body=body)
        return await self._transport.json(models.StreamInfo, "PUT", f"{self._path}/slots/{segment(slot)}", body=body)

    async def clear(self, slot: int) -> None:
        """Shows nothing in this slot."""
        await self._transport.request("DELETE", f"{self._path}/slots/{segment(slot)}")

    # ------------------------------------------------------------ people

    async def invite(
        self,
        role: Role = "viewer",
        expires: Seconds = 3600,
        *,
        rights: Iterable[Right] = (),
        display_name: Optional[str] = None,
        user_id: Optional[str] = None,
        max_bitrate_kbps: Optional[int] = None,
    ) -> AsyncInvite:
        """A link to its page, for somebody who may watch (`viewer`) or steer as well (`controller`), for `expires` seconds."""
        token = await self._client.tokens.create(
            self.id,
            role,
            rights=rights,
            expires=expires,
            display_name=display_name,
            user_id=user_id,
            max_bitrate_kbps=max_bitrate_kbps,
        )
        return self._client.tokens.invite(self.id, token)

    async def peers(self) -> list[models.Peer]:
        """Who watches."""
        return (await self._transport.json(models.PeerList, "GET", f"{self._path}/peers")).peers

    async def update_peer(self, peer: str, change: models.PeerPatch) -> None:
        """Changes what a peer may do, or what it is sent at most."""
        path = f"{self._path}/peers/{segment(peer)}"
        await self._transport.request("PATCH", path, body=change, repeatable=True)

    async def remove_peer(self, peer: str) -> None:
        """Removes a peer."""
        await self._transport.request("DELETE", f"{self._path}/peers/{segment(peer)}")

    async def control(self) -> models.Control:
        """Who may steer."""
        return await self._transport.json(models.Control, "GET", f"{self._path}/control")

    async def set_control(self, change: models.ControlChange) -> models.Control:
        """Changes who may steer: all controllers, or one at a time."""
        return await self._transport.json(models.Control, "PUT", f"{self._path}/control", body=change)


class AsyncClipboard:
    """The clipboard of a session."""

    def __init__(self, client: AsyncClient, id: str) -> None:
        self._transport = client._transport
        self._path = f"api/streamers/{segment(id)}/clipboard"

    async def get(self) -> str:
        """Its text; empty when it holds none."""
        return (await self.read()).text

    async def read(self) -> models.ClipboardBody:
        """Its text, its HTML, and the types that it offers."""
        return await self._transport.json(models.ClipboardBody, "GET", self._path)

    async def set(self, text: str, *, html: Optional[str] = None) -> None:
        """Puts a text on it."""
        await self._transport.request("PUT", self._path, body=given(text=text, html=html))

    async def image(self) -> Screenshot:
        """The picture on it, a PNG. Raises `NotFound` when it holds none."""
        return Screenshot((await self._transport.request("GET", self._path, query={"type": "image/png"})).content)

    async def set_image(self, png: bytes) -> None:
        """Puts a picture on it."""
        await self._transport.request("PUT", self._path, content=png, content_type="image/png")


def _position(x: Optional[float], y: Optional[float]) -> Optional[models.Position]:
    if x is None and y is None:
        return None
    if x is None or y is None:
        raise ValueError("a position has both x and y")
    return {"x": x, "y": y}
