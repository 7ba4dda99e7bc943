"""Drives one session with the client that openapi-python-client makes of docs/openapi.json.

PYTHONPATH=where/it/lies python session.py URL SECRET FILE: FILE is where the session's program writes what was typed.
"""

import sys
import time
from pathlib import Path

from oriel_client import AuthenticatedClient
from oriel_client.api.session import get_snapshot, resize_streamer, send_input
from oriel_client.api.streamers import create_streamer, delete_streamer, get_streamer
from oriel_client.models import (
    CreateStreamer,
    InputCommandClick,
    InputCommandClickType,
    InputCommandText,
    InputCommandTextType,
    InputRequest,
    Position,
    Problem,
    ResizeRequest,
    SourceSpecDesktop,
    SourceSpecDesktopType,
    Streamer,
)

WORDS = "written by Python"
ID = "python"


def main(url: str, secret: str, file: Path) -> None:
    client = AuthenticatedClient(base_url=url, token=secret)
    source = SourceSpecDesktop(
        type_=SourceSpecDesktopType.DESKTOP,
        width=640,
        height=360,
        audio=False,
        command=f"exec xterm -geometry 80x24+0+0 -e sh -c 'read line; echo \"$line\" > {file}; exec sleep 1000'",
    )
    created = create_streamer.sync_detailed(
        client=client, body=CreateStreamer(id=ID, source=source), wait="running"
    )
    assert created.status_code == 201, created
    assert isinstance(created.parsed, Streamer), created
    assert created.parsed.id == ID, created

    # A program that has just been started reads no input yet, so the line is typed until it is there.
    typed = InputRequest(
        events=[
            InputCommandClick(type_=InputCommandClickType.CLICK, at=Position(x=100, y=100)),
            InputCommandText(type_=InputCommandTextType.TEXT, text=f"{WORDS}\n"),
        ]
    )
    deadline = time.monotonic() + 20
    while not written(file):
        assert time.monotonic() < deadline, f"nothing was written to {file}"
        sent = send_input.sync_detailed(ID, client=client, body=typed)
        assert sent.status_code == 204, sent
        time.sleep(0.1)
    assert written(file).endswith(f"{WORDS}\n"), written(file)

    snapshot = get_snapshot.sync_detailed(ID, client=client)
    assert snapshot.status_code == 200, snapshot
    picture = snapshot.parsed.payload.read()
    assert picture[1:4] == b"PNG", picture[:16]
    assert int.from_bytes(picture[16:20], "big") == 640, picture[:24]

    refused = resize_streamer.sync(ID, client=client, body=ResizeRequest(width=1, height=1))
    assert isinstance(refused, Problem), refused
    assert refused.code == "invalid_field", refused

    deleted = delete_streamer.sync_detailed(ID, client=client)
    assert deleted.status_code == 204, deleted
    gone = get_streamer.sync(ID, client=client)
    assert isinstance(gone, Problem), gone
    assert gone.code == "streamer_not_found", gone


def written(file: Path) -> str:
    return file.read_text() if file.exists() else ""


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
