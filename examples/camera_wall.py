"""A camera wall: one page that shows several cameras at once.

    python camera_wall.py door=rtsp://10.0.0.7/stream1 clip=/srv/clip.mp4
    https://…/s/camera-wall-…

A camera is NAME=URL: `rtsp://` and whatever ffmpeg reads. Without any, the wall has two test pictures that ffmpeg makes. It ends on Ctrl-C.
`--once` shows it, waits for pictures of all cameras, and ends: to find out whether an installation works.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import oriel
from oriel.models import SourceSpec

if TYPE_CHECKING:
    from collections.abc import Iterable

TEST_PICTURES: dict[str, SourceSpec] = {
    name: {
        "type": "exec",
        "command": (
            f"exec ffmpeg -loglevel error -re -f lavfi -i {pattern}=size=320x180:rate=10"
            " -c:v libx264 -preset ultrafast -tune zerolatency -g 10 -pix_fmt yuv420p -f mpegts -"
        ),
        "audio": False,
    }
    for name, pattern in (("bars", "smptebars"), ("clock", "testsrc"))
}


def camera(url: str) -> SourceSpec:
    if url.startswith(("rtsp://", "rtsps://")):
        return {"type": "rtsp", "url": url}
    return {"type": "ffmpeg", "input": url, "loop": url.startswith("/")}


def wait_for_pictures(wall: oriel.Session, names: Iterable[str]) -> None:
    """Until each camera has given a picture. Somebody has to watch: cameras start with their first viewer, and snapshots are none."""
    for slot, name in enumerate(names):
        with wall.mp4(name) as stream:
            next(stream)  # The header; a picture follows.
            next(stream)
            picture = wall.screenshot(slot=slot)
        print(f"{name}: {picture.width}x{picture.height}", file=sys.stderr)


def main() -> None:
    arguments = [argument for argument in sys.argv[1:] if argument != "--once"]
    cameras = {name: camera(url) for name, _, url in (argument.partition("=") for argument in arguments)}
    cameras = cameras or TEST_PICTURES
    with oriel.Client() as client:
        # Somebody may come back to a wall after days: it has no `with`, and ends only here.
        made = client.streamers.create({"sources": cameras, "slots": min(len(cameras), 16)})
        wall = client.attach(made.id)
        try:
            names = list(cameras)[:16]
            for slot, name in enumerate(names):
                wall.show(name, slot=slot)
            print(wall.url, flush=True)
            if "--once" in sys.argv[1:]:
                wait_for_pictures(wall, names)
            else:
                for event in wall.events():
                    if isinstance(event, oriel.models.StateEvent):
                        print(f"{event.state}: {event.reason or ''}", file=sys.stderr)
        finally:
            wall.delete()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
