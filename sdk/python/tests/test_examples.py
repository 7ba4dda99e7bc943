"""The examples of the repository do what they say."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import oriel

EXAMPLES = next(
    (folder / "examples" for folder in Path(__file__).resolve().parents if (folder / "examples").is_dir()), None
)
pytestmark = pytest.mark.skipif(EXAMPLES is None, reason="the examples are in the repository only")


def command(name: str, *arguments: str) -> list[str]:
    assert EXAMPLES is not None
    return [sys.executable, str(EXAMPLES / name), *arguments]


def test_the_agent_runs_a_command_by_looking_and_typing(client: oriel.Client, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    line = f"echo 'by an agent' > {tmp_path}/written"
    done = subprocess.run(command("agent_loop.py", line), capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "the command has ended\n"
    assert (tmp_path / "written").read_text() == "by an agent\n"
    assert client.streamers.list() == []


def test_the_camera_wall_shows_all_cameras(client: oriel.Client) -> None:
    done = subprocess.run(command("camera_wall.py", "--once"), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "bars: 320x180\nclock: 320x180\n"
    assert done.stdout.startswith(f"{client.url}s/")
    assert client.streamers.list() == []


def test_the_support_desk_gives_links_that_work_until_it_closes(client: oriel.Client) -> None:
    desk = subprocess.Popen(
        command("support_desk.py", "Ada"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert desk.stdout is not None
    try:
        links = json.loads(desk.stdout.readline())
        for role in ("customer", "agent"):
            with oriel.Client(token=links[role].partition("#token=")[2]) as person:
                session = person.attach(links["session"])
                assert session.screenshot().size == (1024, 768)
                if role == "customer":
                    session.click(10, 10)
                else:
                    with pytest.raises(oriel.Forbidden):
                        session.click(10, 10)
        desk.send_signal(signal.SIGINT)
        assert desk.wait(20) == 130
        assert client.streamers.list() == []
    finally:
        desk.kill()
        desk.wait()
        desk.stdout.close()
