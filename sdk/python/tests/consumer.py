"""What a user's type checker says about correct and wrong uses; checked by mypy and pyright, not run."""

from __future__ import annotations

from typing import Optional

import oriel


def agent() -> bytes:
    with oriel.session(width=1280, height=720, command=["xterm"], env={"A": "b"}) as s:
        s.type("date\n")
        s.click(10, 20, button="middle")
        title: str = s.windows()[0].title
        picture: oriel.Screenshot = s.wait_until_still(timeout=5)
        link: str = s.invite("viewer", 60).url
        print(title, link, picture.size)
        return s.screenshot()


def emptied(client: oriel.Client, name: str) -> dict[str, str]:
    node: oriel.models.Node = client.nodes.drain(name)
    for streamer in client.streamers.list(node=node.name):
        client.attach(streamer.id).relocate(labels={"gpu": "yes"})
    with client.session(placement={"labels": {"gpu": "yes"}}):
        return client.nodes.get(name).labels


async def asynchronous() -> Optional[str]:
    async with oriel.AsyncClient("http://localhost:8080", "token") as client:
        async with client.session(source={"type": "rtsp", "url": "rtsp://camera"}) as s:
            async for event in s.events():
                if isinstance(event, oriel.models.StateEvent):
                    return event.reason
    return None


def wrong() -> None:
    with oriel.session(width="wide") as s:  # type: ignore[arg-type]
        s.click(1, 2, button="leftmost")  # type: ignore[arg-type]
        s.invite("owner")  # type: ignore[arg-type]
        print(s.windows()[0].name)  # type: ignore[attr-defined]
    oriel.Client().session(source={"type": "desktop", "widht": 1})  # type: ignore[arg-type]
    oriel.Client().session(placement={"nodes": ["a"]})  # type: ignore[typeddict-unknown-key]
