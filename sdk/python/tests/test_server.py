"""Against a real server, by the synchronous face."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING, TypedDict

import pytest
from waiting import until

import oriel
from oriel.models import ClipboardChangedEvent, CreatedEvent, DeletedEvent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Size(TypedDict):
    """What all desktops of the tests have in common."""

    width: int
    height: int
    audio: bool
    opengl: bool


SIZE: Size = {"width": 640, "height": 360, "audio": False, "opengl": False}


@pytest.fixture(scope="module")
def terminal(client: oriel.Client, tmp_path_factory: pytest.TempPathFactory) -> Iterator[oriel.Session]:
    """A desktop with a shell in a terminal, whose directory is that of the tests."""
    directory = tmp_path_factory.mktemp("shell")
    directory.chmod(0o777)
    with client.session(
        **SIZE, command=f"cd {directory}; exec xterm -geometry 100x25+0+0 -e sh", env={"PS1": "$ "}
    ) as session:
        session.wait_for_window(app="xterm")
        session.click(100, 100)
        # A program that has just been started reads no input yet.
        until(lambda: _typed(session, directory / "ready", "touch ready\n"))
        yield session


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory, terminal: oriel.Session) -> Path:
    return next(tmp_path_factory.getbasetemp().glob("shell*"))


def _typed(session: oriel.Session, file: Path, line: str) -> bool:
    session.type(line)
    return file.exists()


def ids(client: oriel.Client) -> list[str]:
    return [one.id for one in client.streamers.list()]


def test_what_is_typed_is_done(terminal: oriel.Session, directory: Path) -> None:
    terminal.type("echo 'grüße 你好' > typed\n")
    until((directory / "typed").exists)
    until(lambda: (directory / "typed").read_text() == "grüße 你好\n")


def test_keys_are_pressed(terminal: oriel.Session, directory: Path) -> None:
    terminal.type("touch never")
    terminal.key("ctrl+c")
    terminal.type("touch keys")
    terminal.key("Return")
    until((directory / "keys").exists)
    assert not (directory / "never").exists()


def test_a_screenshot_has_the_size_of_the_desktop(terminal: oriel.Session, tmp_path: Path) -> None:
    shot = terminal.screenshot()
    assert shot.startswith(b"\x89PNG")
    assert shot.size == terminal.size() == shot.image().size == (640, 360)
    assert terminal.screenshot(width=320).size == (320, 180)
    jpeg = terminal.screenshot(format="jpeg")
    assert jpeg.startswith(b"\xff\xd8")
    assert jpeg.size == (640, 360)
    shot.save(tmp_path / "shot.png")
    assert (tmp_path / "shot.png").read_bytes() == shot


def test_the_pointer_goes_where_it_is_told(terminal: oriel.Session) -> None:
    terminal.move(321, 123)
    until(lambda: terminal.get().pointer == oriel.models.Pixel(321, 123))
    terminal.move_by(4, -3)
    until(lambda: terminal.get().pointer == oriel.models.Pixel(325, 120))
    terminal.drag((10, 10), (50, 60))
    until(lambda: terminal.get().pointer == oriel.models.Pixel(50, 60))
    terminal.right_click()
    terminal.scroll(2, x=100, y=100)
    until(lambda: terminal.get().pointer == oriel.models.Pixel(100, 100))


def test_a_double_click_selects_and_the_clipboard_is_read_and_written(terminal: oriel.Session) -> None:
    terminal.clipboard.set("from outside", html="<b>from outside</b>")
    assert terminal.clipboard.get() == "from outside"
    assert terminal.clipboard.read().html == "<b>from outside</b>"
    with pytest.raises(oriel.NotFound) as caught:
        terminal.clipboard.image()
    assert caught.value.code == "not_on_clipboard"
    picture = terminal.screenshot(width=64)
    terminal.clipboard.set_image(picture)
    assert terminal.clipboard.image() == picture


def test_it_waits_until_the_picture_is_still(terminal: oriel.Session, directory: Path) -> None:
    def waits_for_the_end() -> bool:
        (directory / "still").unlink(missing_ok=True)
        terminal.type("for i in $(seq 12); do echo $i; sleep 0.1; done; touch still\n")
        picture = terminal.wait_until_still(still_for=0.6)
        ended = (directory / "still").exists()
        until(lambda: (directory / "still").exists())
        return ended and picture == terminal.screenshot()

    def is_never_still() -> bool:
        terminal.type("for i in $(seq 60); do date +%N; sleep 0.05; done\n")
        try:
            terminal.wait_until_still(timeout=1.0)
        except oriel.WaitTimeout as caught:
            return bool(caught.screenshot)
        return False

    # A machine that stands still for as long makes a picture that is still.
    assert any(waits_for_the_end() for _ in range(5))
    assert any(is_never_still() for _ in range(5))
    terminal.wait_until_still()


def test_windows_are_listed_and_waited_for(terminal: oriel.Session) -> None:
    terminal.type("xterm -title 'Second one' -geometry 10x4+400+250 & \n")
    assert terminal.wait_for_window("second").app == "XTerm"
    assert len(terminal.windows()) == 2
    with pytest.raises(oriel.WaitTimeout, match="Second one"):
        terminal.wait_for_window("third", timeout=0.2)
    terminal.type("kill %1\n")
    until(lambda: len(terminal.windows()) == 1)


def test_it_is_resized(terminal: oriel.Session) -> None:
    terminal.resize(800, 450)
    until(lambda: terminal.size() == (800, 450))
    terminal.resize(640, 360)
    until(lambda: terminal.size() == (640, 360))


def test_errors_name_the_field(terminal: oriel.Session) -> None:
    with pytest.raises(oriel.InvalidRequest) as caught:
        terminal.resize(1, 1)
    error = caught.value
    assert (error.status, error.code, error.field) == (400, "invalid_field", "width")
    assert error.request_id
    with pytest.raises(oriel.InvalidRequest):
        terminal.click(10_000, 10)


def test_a_link_lets_in_until_it_is_revoked(terminal: oriel.Session, client: oriel.Client) -> None:
    invite = terminal.invite("viewer", expires=60, display_name="Ada")
    page, _, token = invite.url.partition("#token=")
    assert page == f"{client.url}s/{terminal.id}" == terminal.url
    assert token not in repr(invite)
    with oriel.Client(token=token) as guest:
        seen = guest.attach(terminal.id)
        assert seen.get().state == "running"
        with pytest.raises(oriel.Forbidden):
            seen.type("x")
        with pytest.raises(oriel.Forbidden):
            guest.streamers.list()
        invite.revoke()
        with pytest.raises(oriel.Unauthorized):
            seen.get()


def test_an_mp4_is_recorded(terminal: oriel.Session, tmp_path: Path) -> None:
    terminal.record(tmp_path / "a.mp4", 1.0)
    with terminal.recording(tmp_path / "b.mp4"):
        terminal.type("ls /\n")
        terminal.wait_until_still()
    for name in ("a.mp4", "b.mp4"):
        entries = "stream=codec_name,width,nb_read_frames"
        probe = ["ffprobe", "-v", "error", "-count_frames", "-show_entries", entries, "-of", "csv=p=0", name]
        probed = subprocess.run(probe, cwd=tmp_path, capture_output=True, text=True, check=True)
        codec, width, frames = probed.stdout.strip().split(",")
        assert (codec, width) == ("h264", "640")
        assert int(frames) >= 2
        assert probed.stderr == ""


def test_life_is_changed_and_logged(terminal: oriel.Session) -> None:
    changed = terminal.update(expires=600, idle_timeout=None)
    assert changed.expires_at is not None
    assert changed.idle_timeout_s is None
    assert terminal.update(expires=None, idle_timeout=60).expires_at is None
    assert isinstance(terminal.logs(tail=5), list)
    assert "created" in [entry.action for entry in terminal.audit()]


def test_control_and_sources_are_shown(terminal: oriel.Session) -> None:
    assert terminal.control().mode == "shared"
    assert terminal.set_control({"mode": "exclusive"}).mode == "exclusive"
    terminal.set_control({"mode": "shared"})
    terminal.add_source("picture", {"type": "test", "width": 160, "height": 96})
    assert {"main", "picture"} <= {source.name for source in terminal.sources()}
    slot = terminal.show("picture").slot
    assert terminal.screenshot(slot=slot).size == (160, 96)
    terminal.clear(slot)
    terminal.remove_source("picture")
    # Readers of MP4 were peers.
    until(lambda: terminal.peers() == [])


def test_files_go_in_and_out(terminal: oriel.Session, tmp_path: Path) -> None:
    files = terminal.files
    files.make_directory("in")
    assert files.write("in/grüße.txt", b"hello").size == 5
    large = tmp_path / "large"
    large.write_bytes(os.urandom(17 << 20))
    assert files.upload(large, "in/large").size == 17 << 20
    files.download("in/large", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == large.read_bytes()
    assert [entry.name for entry in files.list("in")] == ["grüße.txt", "large"]
    files.download("in", tmp_path / "in.zip", archive=True)
    assert zipfile.ZipFile(tmp_path / "in.zip").read("grüße.txt") == b"hello"
    files.remove("in", recursive=True)
    with pytest.raises(oriel.NotFound):
        files.read("in/large")
    with pytest.raises(ValueError, match="elsewhere"):
        files.read("../secret")


def test_events_go_on_from_their_position(client: oriel.Client) -> None:
    with client.session(**SIZE, command=["sleep", "1000"]) as session, session.events() as events:
        session.clipboard.set("one")
        assert isinstance(next(events), ClipboardChangedEvent)
        position = events.last_id
        session.clipboard.set("two")
        assert isinstance(next(events), ClipboardChangedEvent)
        with session.events(last_id=position) as again:
            assert isinstance(next(again), ClipboardChangedEvent)
            assert again.last_id == events.last_id
        session.delete()
        *_, last = events
        assert isinstance(last, DeletedEvent)


def test_a_command_that_fails_says_so_and_leaves_nothing(client: oriel.Client) -> None:
    before = ids(client)
    with pytest.raises(oriel.StartFailed, match="no such thing") as caught:
        client.session(**SIZE, command="echo no such thing; exit 3").start()
    assert caught.value.field == "source.command"
    assert ids(client) == before


def test_a_session_ends_with_its_body(client: oriel.Client) -> None:
    with pytest.raises(ZeroDivisionError), client.session(**SIZE, command=["sleep", "1000"]) as session:
        _ = 1 / 0
    with pytest.raises(oriel.NotFound):
        session.get()
    session.close()  # Once more is harmless.


def test_the_session_of_somebody_else_is_left_alone(client: oriel.Client) -> None:
    made = client.streamers.create({"id": "theirs", "source": {"type": "test", "width": 160, "height": 96}})
    with pytest.raises(oriel.Conflict) as caught, client.session(**SIZE, id="theirs"):
        pytest.fail("the id is taken")
    assert (caught.value.code, caught.value.field) == ("streamer_exists", "id")
    with client.attach("theirs") as session:
        assert session.get().created == made.created
    assert client.streamers.get("theirs").state == "running"
    client.streamers.delete("theirs")


@pytest.mark.parametrize("when", ["starting", "running"])
def test_ctrl_c_ends_the_session(client: oriel.Client, when: str) -> None:
    """Also while it starts, when nobody knows its id but the client."""
    command = {"starting": "exec sleep 1000", "running": "exec sleep 1001"}[when]
    source = {"starting": "'start', flush=True", "running": "end='', flush=True"}[when]
    script = (
        f"import oriel, time\nprint({source})\n"
        f"with oriel.session(width=640, height=360, audio=False, command={command!r}) as s:\n"
        "    print(s.id, flush=True)\n    time.sleep(60)\n"
    )
    with client.events() as events:
        program = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert program.stdout is not None
        try:
            assert program.stdout.readline()
            created = next(event for event in events if isinstance(event, CreatedEvent))
            program.send_signal(signal.SIGINT)
            assert program.wait(20) != 0
        finally:
            program.kill()
            program.wait()
            program.stdout.close()
        ended = next(event for event in events if isinstance(event, DeletedEvent))
        assert ended.streamer == created.streamer
    assert created.streamer not in ids(client)


def test_rooms_are_made_and_people_invited(client: oriel.Client) -> None:
    room = client.rooms.create("Stand-up", max_participants=3)
    try:
        assert client.rooms.get(room.id).max_participants == 3
        assert [one.id for one in client.rooms.list()] == [room.id]
        invite = client.rooms.invite(room.id, display_name="Ada", user_id="u-1")
        assert invite.url.startswith(f"{client.url}r/{room.id}#token=")
        assert set(invite.token.rights) == {"publish", "chat"}
    finally:
        client.rooms.delete(room.id)


def test_hosts_are_listed_and_refused(client: oriel.Client) -> None:
    assert client.hosts.list() == []
    with pytest.raises(oriel.NotFound) as caught:
        client.hosts.get("nowhere")
    assert caught.value.code == "host_not_found"


def test_a_server_says_what_it_is_and_that_it_is_in_no_cluster(client: oriel.Client) -> None:
    info = client.info()
    assert (info.version, "v1" in info.api_versions) == (oriel.__version__, True)
    assert "cluster" not in info.features
    with pytest.raises(oriel.NotFound) as caught:
        client.nodes.list()
    assert caught.value.code == "no_cluster"


def test_a_server_that_is_away_is_named(client: oriel.Client) -> None:
    with oriel.Client("http://127.0.0.1:9", retries=0) as away, pytest.raises(oriel.ConnectionFailed) as caught:
        away.ready()
    assert not caught.value.sent
    assert client.ready()
    with oriel.Client(token="wrong") as wrong, pytest.raises(oriel.Unauthorized):
        wrong.streamers.list()
    assert os.environ["ORIEL_TOKEN"] not in repr(client.attach("a"))
