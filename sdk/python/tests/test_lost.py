"""Through a relay that breaks connections where it hurts."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from typing import TYPE_CHECKING, Callable
from urllib.parse import urlsplit

import pytest
from waiting import until

import oriel
from oriel.models import CreatedEvent

if TYPE_CHECKING:
    from collections.abc import Iterator


class Relay:
    """Relays connections to the server. `cut` decides, by the first bytes of a request, whether its answer is kept back."""

    def __init__(self) -> None:
        server = urlsplit(os.environ["ORIEL_URL"])
        self._server = (server.hostname or "", server.port or 80)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/"
        self.cut: Callable[[bytes], bool] = lambda request: False
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            upstream = socket.create_connection(self._server)
            self._open |= {client, upstream}
            state = {"cut": False}
            threading.Thread(target=self._pump, args=(client, upstream, state, True), daemon=True).start()
            threading.Thread(target=self._pump, args=(upstream, client, state, False), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, state: dict[str, bool], is_request: bool) -> None:
        try:
            while data := source.recv(65536):
                if is_request:
                    # Its host is part of what the server checks.
                    data = data.replace(
                        urlsplit(self.url).netloc.encode(), f"{self._server[0]}:{self._server[1]}".encode()
                    )
                    state["cut"] = state["cut"] or self.cut(data)
                elif state["cut"]:
                    break
                target.sendall(data)
        except OSError:
            pass
        for one in (source, target):
            self._break(one)

    def _break(self, one: socket.socket) -> None:
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()

    def break_all(self) -> None:
        for one in list(self._open):
            self._break(one)
        self._open.clear()

    def close(self) -> None:
        self._break(self._listener)
        self.break_all()


@pytest.fixture
def relay() -> Iterator[Relay]:
    relay = Relay()
    yield relay
    relay.close()


def once(start: bytes) -> Callable[[bytes], bool]:
    """True for the first request that begins so."""
    left = [True]

    def cut(request: bytes) -> bool:
        if left[0] and request.startswith(start):
            left[0] = False
            return True
        return False

    return cut


def test_a_create_whose_answer_was_lost_makes_no_second_session(client: oriel.Client, relay: Relay) -> None:
    with oriel.Client(relay.url) as lossy:
        relay.cut = once(b"POST /api/streamers")
        with lossy.session(source={"type": "test", "width": 160, "height": 96}) as session:
            assert [one.id for one in client.streamers.list()] == [session.id]
            # The answer to the deletion is lost as well: that it is gone then is no error.
            relay.cut = once(b"DELETE /api/streamers")
        assert client.streamers.list() == []


def test_input_whose_answer_was_lost_is_not_repeated(client: oriel.Client, relay: Relay) -> None:
    with (
        client.session(width=320, height=240, audio=False, command=["sleep", "1000"]) as session,
        oriel.Client(relay.url) as lossy,
    ):
        relay.cut = once(b"POST /api/streamers")
        session.move(20, 20)
        with pytest.raises(oriel.ConnectionFailed) as caught:
            lossy.attach(session.id).move_by(-10, -10)
        assert caught.value.sent
        # It was carried out, once.
        lossy.attach(session.id).move_by(1, 0)
        until(lambda: session.get().pointer == oriel.models.Pixel(11, 10))


def test_events_come_back_after_a_loss_without_a_gap(client: oriel.Client, relay: Relay) -> None:
    with oriel.Client(relay.url) as lossy, lossy.events() as events:
        for number in range(3):
            id = f"event-{number}"
            relay.break_all()
            client.streamers.create({"id": id, "source": {"type": "test", "width": 160, "height": 96}}, wait=False)
            created = next(event for event in events if isinstance(event, CreatedEvent))
            assert created.streamer == id
            client.streamers.delete(id)
