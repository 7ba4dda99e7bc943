"""Against a cluster of two nodes, which the tests start with a NATS server of their own."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Callable, NamedTuple, TypeVar

import pytest
from waiting import until

import oriel

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T")
PICTURE: oriel.models.TestSpec = {"type": "test", "width": 64, "height": 36, "fps": 5}
# What a node says while it does not reach NATS or the other one, as when this machine has stood still for a moment.
MOMENTARY = {"cluster_unreachable", "node_unreachable", "streamer_moved"}


class Nodes(NamedTuple):
    """A client of each."""

    a: oriel.Client
    b: oriel.Client


def settled(call: Callable[[], T]) -> T:
    """What it gives when the nodes reach each other."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return call()
        except oriel.ApiError as error:
            if error.code not in MOMENTARY or time.monotonic() >= deadline:
                raise
        time.sleep(0.05)


def free_ports(count: int) -> list[int]:
    """Ports that are free now, and given to nobody else."""
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [listener.getsockname()[1] for listener in listeners]


@contextlib.contextmanager
def listening(port: int, *command: str, **variables: str) -> Iterator[None]:
    """A program that listens on `port`."""
    # Those of the tests are none that a server knows.
    others = {name: value for name, value in os.environ.items() if not name.startswith("ORIEL_")}
    process = subprocess.Popen(command, env={**others, **variables})

    def listens() -> bool:
        assert process.poll() is None, f"{command[0]} has ended"
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) == 0

    try:
        until(listens)
        yield
    finally:
        process.terminate()
        try:
            process.wait(60)
        finally:
            process.kill()
            process.wait()


@contextlib.contextmanager
def node(name: str, port: int, nats: int, folder: Path) -> Iterator[oriel.Client]:
    with (
        listening(
            port,
            str(Path(os.environ["ORIEL_BIN_DIR"]) / "web-server"),
            *("--listen", f"127.0.0.1:{port}", "--listen-ip", "127.0.0.1", "--ice-server", "none", "--log", "warn"),
            *("--state-dir", str(folder / name), "--stop-streamers"),
            ORIEL_ADMIN_SECRET=os.environ["ORIEL_TOKEN"],
            ORIEL_CLUSTER_NATS=f"nats://127.0.0.1:{nats}",
            ORIEL_CLUSTER_KEY="the-key-of-a-cluster-in-a-test-0123456789",
            ORIEL_CLUSTER_NAME=name,
            ORIEL_CLUSTER_ADVERTISE=f"http://127.0.0.1:{port}",
            ORIEL_CLUSTER_LABELS=f"rack={name}",
            # Longer than a busy machine keeps a node from renewing it.
            ORIEL_CLUSTER_LEASE_S="30",
            ORIEL_WEBRTC_TCP_PORT="0",
        ),
        oriel.Client(f"http://127.0.0.1:{port}") as client,
    ):
        yield client


def states(client: oriel.Client) -> dict[str, str]:
    return {one.name: one.state for one in client.nodes.list()}


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    folder = tmp_path_factory.mktemp("cluster")
    nats, *ports = free_ports(3)
    with (
        listening(nats, "nats-server", "-a", "127.0.0.1", "-p", str(nats), "-js", "-sd", str(folder / "nats")),
        node("a", ports[0], nats, folder) as a,
        node("b", ports[1], nats, folder) as b,
    ):
        until(lambda: states(a) == states(b) == {"a": "alive", "b": "alive"})
        yield Nodes(a, b)


def test_nodes_are_listed_by_any_of_them(nodes: Nodes) -> None:
    assert "cluster" in nodes.a.info().features
    for client, name in ((nodes.a, "a"), (nodes.b, "b")):
        listed = client.nodes.list()
        assert [(one.name, one.this, one.labels) for one in listed] == [
            ("a", name == "a", {"rack": "a"}),
            ("b", name == "b", {"rack": "b"}),
        ]
        assert all((one.version, one.public_url) == (oriel.__version__, None) for one in listed)
        assert all(one.max_streamers > 0 for one in listed)
        assert f"{client.nodes.get(name).advertise}/" == client.url
    with pytest.raises(oriel.NotFound) as caught:
        nodes.a.nodes.get("c")
    assert caught.value.code == "node_not_found"


async def test_asyncio_lists_them_too(nodes: Nodes) -> None:
    async with oriel.AsyncClient(nodes.a.url) as client:
        assert [one.name for one in await client.nodes.list()] == ["a", "b"]
        assert (await client.nodes.get("b")).labels == {"rack": "b"}
        assert await client.streamers.list(node="b") == []


def test_a_node_that_is_drained_takes_no_sessions_until_that_ends(nodes: Nodes) -> None:
    assert settled(lambda: nodes.a.nodes.drain("b")).state == "draining"
    until(lambda: states(nodes.a)["b"] == "draining")
    with pytest.raises(oriel.ServerError, match="draining") as caught:
        settled(nodes.a.session(source=PICTURE, placement={"node": "b"}).start)
    assert caught.value.code == "no_capacity"
    assert settled(lambda: nodes.a.nodes.undrain("b")).state == "alive"
    until(lambda: states(nodes.a)["b"] == "alive")


def test_a_session_is_placed_listed_by_its_node_and_moved(nodes: Nodes) -> None:
    def runs_at(name: str) -> bool:
        streamer = settled(session.get)
        return (streamer.node, streamer.state) == (name, "running")

    def ids(client: oriel.Client, name: str) -> list[str]:
        return [one.id for one in client.streamers.list(node=name)]

    session = nodes.a.session(source=PICTURE, placement={"labels": {"rack": "b"}})
    settled(session.start)
    try:
        assert runs_at("b")
        until(lambda: ids(nodes.a, "b") == [session.id])
        assert ids(nodes.a, "a") == ids(nodes.a, "c") == []
        assert settled(lambda: session.relocate(node="b")).node == "b"

        # Its labels are those of the other node.
        with pytest.raises(oriel.ServerError) as caught:
            settled(session.relocate)
        assert caught.value.code == "no_capacity"
        moved = settled(lambda: session.relocate(labels={"rack": "a"}))
        assert (moved.node, moved.state) == ("a", "restarting")
        until(lambda: runs_at("a"))
        until(lambda: ids(nodes.b, "a") == [session.id])
        assert ids(nodes.b, "b") == []
        assert settled(session.screenshot).size == (64, 36)
    finally:
        settled(session.close)
    until(lambda: nodes.a.streamers.list() == nodes.b.streamers.list() == [])
    with pytest.raises(oriel.NotFound) as gone:
        settled(lambda: session.relocate(node="b"))
    assert gone.value.code == "streamer_not_found"
