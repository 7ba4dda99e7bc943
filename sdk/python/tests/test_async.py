"""The asynchronous face, which shares all but its words with the synchronous one."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING

import pytest

import oriel

if TYPE_CHECKING:
    from pathlib import Path


async def test_many_sessions_at_once(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)

    async def one(client: oriel.AsyncClient, number: int) -> None:
        file = tmp_path / str(number)
        command = ["xterm", "-geometry", "60x20+0+0", "-e", "sh"]
        async with client.session(width=480, height=320, audio=False, opengl=False, command=command) as session:
            await session.wait_for_window(app="xterm")
            await session.click(50, 50)
            while not file.exists():
                await session.type(f"echo {number} > {file}\n")
                await asyncio.sleep(0.1)
            assert (await session.wait_until_still()).size == (480, 320)
            await session.clipboard.set(f"text {number}")
            assert await session.clipboard.get() == f"text {number}"

    async with oriel.AsyncClient() as client:
        await asyncio.gather(*(one(client, number) for number in range(3)))
        assert await client.streamers.list() == []


async def test_events_recording_and_links(tmp_path: Path) -> None:
    async with oriel.async_session(width=480, height=320, audio=False, command=["xterm"]) as session:
        async with session.events() as events, session.recording(tmp_path / "a.mp4"):
            invite = await session.invite("controller", expires=60)
            async with oriel.AsyncClient(token=invite.token.token) as guest:
                await guest.attach(session.id).key("Return")
            await session.clipboard.set("x")
            async for event in events:
                if isinstance(event, oriel.models.ClipboardChangedEvent):
                    break
        assert (tmp_path / "a.mp4").read_bytes()[4:8] == b"ftyp"


async def test_a_cancelled_task_ends_its_session() -> None:
    started = asyncio.Event()

    async def work(client: oriel.AsyncClient) -> None:
        async with client.session(width=480, height=320, audio=False, command=["sleep", "1000"]):
            started.set()
            await asyncio.sleep(60)

    async with oriel.AsyncClient() as client:
        for wait in (started.wait(), asyncio.sleep(0.05)):
            task = asyncio.create_task(work(client))
            await wait
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await client.streamers.list() == []


def test_both_faces_have_the_same_names() -> None:
    for name in ("Client", "Session", "Clipboard", "Events", "Mp4", "Recording", "Invite"):
        public = [
            {member for member, _ in inspect.getmembers(kind) if not member.startswith("_")}
            for kind in (getattr(oriel, name), getattr(oriel, f"Async{name}"))
        ]
        assert public[0] == public[1]
