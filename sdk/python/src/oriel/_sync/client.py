# Made of _async/client.py by tools/generate.py: change that.
"""A server, as its clients see it."""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Optional

from .. import models
from .._arguments import Seconds, given, segment, unique_id, whole_seconds
from .._options import START_TIMEOUT, SessionOptions, session_body
from .._version import __version__
from ..models import OnIdle, Role, SourceSpec
from .events import Events
from .session import Session
from .transport import Transport

if TYPE_CHECKING:
    from typing_extensions import Unpack

Right = Literal["publish", "chat", "moderate"]


class Client:
    """An Oriel server. Its connections are kept and used again: make one client, and close it, or enter it as a context.

    `url` and `token` are `ORIEL_URL` (`http://127.0.0.1:8080`) and `ORIEL_TOKEN` if absent; the token is an admin secret, or one of
    `tokens.create()`. `public_url` is the server's address for people, for links, where it differs. `timeout` is in seconds, for each answer.
    `retries` is how often a request is repeated that may be: after a broken connection, and after as long as the server says when it has too much to do.
    """

    def __init__(
        self,
        url: Optional[str] = None,
        token: Optional[str] = None,
        *,
        public_url: Optional[str] = None,
        timeout: float = 30.0,
        retries: int = 4,
    ) -> None:
        self._transport = Transport(url, token, timeout, retries, f"oriel-python/{__version__}")
        self.url: str = self._transport.url
        self.public_url: str = public_url.rstrip("/") + "/" if public_url else self.url
        self.streamers: Streamers = Streamers(self._transport)
        self.tokens: Tokens = Tokens(self._transport, self.public_url)
        self.rooms: Rooms = Rooms(self._transport, self.tokens)
        self.hosts: Hosts = Hosts(self._transport)
        self.nodes: Nodes = Nodes(self._transport)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections. Sessions go on."""
        self._transport.close()

    def session(self, **options: Unpack[SessionOptions]) -> Session:
        """A desktop that exists while the body of its `with` runs.

            with client.session(width=1280, height=720, command=["xterm"]) as s:
                s.type("date\\n")

        `SessionOptions` has the arguments. The session is deleted at the end of the body, also by an exception or Ctrl-C.
        `attach()` uses one that is there without ending it.
        """
        return Session(
            self,
            create=session_body(options),
            id_is_ours="id" not in options,
            start_timeout=options.get("start_timeout", START_TIMEOUT),
        )

    def attach(self, id: str) -> Session:
        """A session that is there already. Nothing is asked of the server, and leaving its `with` does not end the session."""
        return Session(self, id=id)

    def events(
        self, streamer: Optional[str] = None, *, last_id: Optional[str] = None, patience: float = 60.0
    ) -> Events:
        """Events of all sessions (for admins), or of one, as they happen.

            with client.events() as events:
                for event in events:
                    print(event)

        A lost connection is made again, and goes on where it was, if that takes less than `patience` seconds.
        """
        path = "api/events" if streamer is None else f"api/streamers/{segment(streamer)}/events"
        return Events(self._transport, path, streamer, last_id, patience)

    def streams(self) -> models.StreamList:
        """The streams of the server's configuration, which `WS /api/ws` shows."""
        return self._transport.json(models.StreamList, "GET", "api/streams")

    def info(self) -> models.ApiInfo:
        """Version and features of the server, which needs no token for it: `"cluster" in info.features` where it is in one."""
        return self._transport.json(models.ApiInfo, "GET", "api")

    def ready(self) -> bool:
        """Whether the server can take on work; raises `ServerError` with the reason if not."""
        self._transport.request("GET", "readyz")
        return True


class Streamers:
    """Sessions as resources of the API; `client.session()` is shorter for most."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, node: Optional[str] = None) -> builtins.list[models.Streamer]:
        """All, in order of their ids; with `node` those that this node of the cluster has, none if there is no such node.

        Those of other nodes than the one that is asked come as they were a moment ago, without peers, slots and counters, which `get()` has.
        """
        return (
            self._transport.json(models.StreamerList, "GET", "api/streamers", query=given(node=node))
        ).streamers

    def get(self, id: str) -> models.Streamer:
        """One."""
        return self._transport.json(models.Streamer, "GET", f"api/streamers/{segment(id)}")

    def create(
        self, body: models.CreateStreamer, *, wait: bool = True, timeout: float = START_TIMEOUT
    ) -> models.Streamer:
        """Makes one; with `wait`, it runs then. The same body a second time gives the same streamer.

        An id is chosen here if there is none, so that a request whose answer was lost can be repeated without making two. In a cluster, raises `ServerError`
        if no node has room that fits its `placement` (`no_capacity`), and if NATS is not reached (`cluster_unreachable`).
        """
        body = {**body, "id": body.get("id") or unique_id()}
        return self._transport.json(
            models.Streamer,
            "POST",
            "api/streamers",
            body=body,
            query={"wait": "running"} if wait else None,
            repeatable=True,
            timeout=timeout,
        )

    def delete(self, id: str) -> None:
        """Ends it and everything that it started."""
        self._transport.request("DELETE", f"api/streamers/{segment(id)}")


class Rooms:
    """Streamers in which people meet. `client.attach(room.id)` has the rest."""

    def __init__(self, transport: Transport, tokens: Tokens) -> None:
        self._transport = transport
        self._tokens = tokens

    def list(self) -> builtins.list[models.Room]:
        """All."""
        return (self._transport.json(models.RoomList, "GET", "api/rooms")).rooms

    def get(self, id: str) -> models.Room:
        """One."""
        return self._transport.json(models.Room, "GET", f"api/rooms/{segment(id)}")

    def create(
        self,
        name: str,
        *,
        id: Optional[str] = None,
        max_participants: Optional[int] = None,
        slots: Optional[int] = None,
        source: Optional[SourceSpec] = None,
        sources: Optional[Mapping[str, SourceSpec]] = None,
        expires: Optional[Seconds] = None,
        idle_timeout: Optional[Seconds] = None,
        on_idle: Optional[OnIdle] = None,
        timeout: float = START_TIMEOUT,
    ) -> models.Room:
        """Makes one, and returns when it runs."""
        body = given(
            name=name,
            id=id or unique_id(),
            max_participants=max_participants,
            slots=slots,
            source=source,
            sources=sources,
            expires_in_s=whole_seconds(expires) if expires is not None else None,
            idle_timeout_s=whole_seconds(idle_timeout) if idle_timeout is not None else None,
            on_idle=on_idle,
        )
        return self._transport.json(
            models.Room,
            "POST",
            "api/rooms",
            body=body,
            query={"wait": "running"},
            repeatable=True,
            timeout=timeout,
        )

    def delete(self, id: str) -> None:
        """Ends it."""
        self._transport.request("DELETE", f"api/rooms/{segment(id)}")

    def invite(
        self,
        id: str,
        role: Role = "viewer",
        *,
        rights: Iterable[Right] = ("publish", "chat"),
        expires: Seconds = 3600,
        display_name: Optional[str] = None,
        user_id: Optional[str] = None,
    ) -> Invite:
        """A link to the room, for one person."""
        token = self._tokens.create(
            id, role, rights=rights, expires=expires, display_name=display_name, user_id=user_id
        )
        return self._tokens.invite(id, token, page="r")


class Tokens:
    """Tokens, each for one session and role."""

    def __init__(self, transport: Transport, public_url: str) -> None:
        self._transport = transport
        self._public_url = public_url

    def create(
        self,
        streamer: str,
        role: Role,
        *,
        rights: Iterable[Right] = (),
        expires: Seconds = 3600,
        display_name: Optional[str] = None,
        user_id: Optional[str] = None,
        max_bitrate_kbps: Optional[int] = None,
    ) -> models.Token:
        """Makes one, valid for 10 s to 7 days. The server shows it only once."""
        body = given(
            role=role,
            rights=list(rights) or None,
            expires_in_s=whole_seconds(expires),
            display_name=display_name,
            user_id=user_id,
            max_bitrate_kbps=max_bitrate_kbps,
        )
        return self._transport.json(models.Token, "POST", f"api/streamers/{segment(streamer)}/tokens", body=body)

    def revoke(self, streamer: str, token_id: str) -> None:
        """Ends its validity, and removes the peers that joined with it."""
        self._transport.request("DELETE", f"api/streamers/{segment(streamer)}/tokens/{segment(token_id)}")

    def invite(self, streamer: str, token: models.Token, *, page: Literal["s", "r"] = "s") -> Invite:
        """A link with this token: to the session's page (`s`), or to the room's (`r`)."""
        # In the fragment, which browsers send to nobody.
        url = f"{self._public_url}{page}/{segment(streamer)}#token={token.token}"
        return Invite(url=url, streamer=streamer, token=token, _tokens=self)


@dataclass(frozen=True)
class Invite:
    """A link that lets whoever has it watch, or steer, one session."""

    url: str = field(repr=False)
    """To give away. It holds the token."""
    streamer: str
    """The session's id."""
    token: models.Token
    """The token, its id, its role, and when it expires."""
    _tokens: Tokens = field(repr=False)

    def revoke(self) -> None:
        """Ends it; whoever uses it is removed."""
        self._tokens.revoke(self.streamer, self.token.token_id)


class Hosts:
    """Moonlight hosts (docs/MOONLIGHT.md)."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self) -> builtins.list[models.Host]:
        """All."""
        return (self._transport.json(models.HostList, "GET", "api/hosts")).hosts

    def get(self, id: str) -> models.Host:
        """One, and its present state."""
        return self._transport.json(models.Host, "GET", f"api/hosts/{segment(id)}")

    def add(self, address: str, *, http_port: Optional[int] = None) -> models.Host:
        """Adds one. One that is known already is given back."""
        body = given(address=address, http_port=http_port)
        return self._transport.json(models.Host, "POST", "api/hosts", body=body, repeatable=True)

    def remove(self, id: str) -> None:
        """Forgets one."""
        self._transport.request("DELETE", f"api/hosts/{segment(id)}")

    def pair(self, id: str) -> models.PairStarted:
        """Begins to pair: the PIN is to be entered at the host. `get(id).pairing` says how far it is."""
        return self._transport.json(models.PairStarted, "POST", f"api/hosts/{segment(id)}/pair")

    def apps(self, id: str) -> builtins.list[models.HostApp]:
        """Its apps."""
        return (self._transport.json(models.HostAppList, "GET", f"api/hosts/{segment(id)}/apps")).apps

    def app_image(self, id: str, app: int) -> bytes:
        """The picture of an app: the bytes of an image file."""
        return (self._transport.request("GET", f"api/hosts/{segment(id)}/apps/{segment(app)}/image")).content

    def wake(self, id: str) -> None:
        """Wakes one that sleeps."""
        self._transport.request("POST", f"api/hosts/{segment(id)}/wake", repeatable=True)

    def cancel(self, id: str) -> None:
        """Ends the app that runs on it."""
        self._transport.request("POST", f"api/hosts/{segment(id)}/cancel")


class Nodes:
    """The machines of a cluster (docs/CLUSTER.md), of which any can be asked. For admins.

    All of it raises `NotFound` where the server is in no cluster (`no_cluster`), and where there is no node of this name (`node_not_found`).
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self) -> builtins.list[models.Node]:
        """All, in order of their names, with state, labels, and how many streamers each has and takes."""
        return (self._transport.json(models.NodeList, "GET", "api/nodes")).nodes

    def get(self, name: str) -> models.Node:
        """One, as the node that is asked knows it."""
        return self._transport.json(models.Node, "GET", f"api/nodes/{segment(name)}")

    def drain(self, name: str) -> models.Node:
        """Lets one take no new streamers until `undrain()`, also after a restart; those that it has go on. Gives it as it says itself that it is.

        Other nodes hear of it a moment later. Raises `ServerError` if the node does not answer (`node_unreachable`), as when it is lost.
        """
        return self._set(name, "drain")

    def undrain(self, name: str) -> models.Node:
        """Lets one take new streamers again; otherwise as `drain()`."""
        return self._set(name, "undrain")

    def _set(self, name: str, what: str) -> models.Node:
        return self._transport.json(models.Node, "POST", f"api/nodes/{segment(name)}/{what}", repeatable=True)
