# Made of docs/openapi.json by tools/generate.py: run that after a change.
"""What requests take (TypedDicts), and what responses give (frozen dataclasses)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Optional, TypedDict, Union


@dataclass(frozen=True)
class Unknown:
    """One of several kinds of a thing that this version of the package does not know."""

    type: str
    data: dict[str, Any]


class _AddHost(TypedDict):
    address: str
    """Name or address."""


class AddHost(_AddHost, total=False):
    """`POST /api/hosts`."""

    http_port: int
    """Port of its HTTP."""


class AddSource(TypedDict):
    """`POST /api/streamers/{id}/sources`."""

    name: str
    """By the rules of streamer ids, and not `main`."""
    source: SourceSpec
    """The source to add."""


@dataclass(frozen=True)
class ApiInfo:
    """`GET /api`."""

    api_versions: list[str]
    """Versions of the API that it serves, each below `/api/{version}/`. Paths without one are of the first."""
    docs: str
    """Path of the documentation."""
    features: list[str]
    """What it can do, and is configured to: `files`, `rooms`, `whep`, `whip`, `multistream`, `moonlight`, `websocket-
    media`, `cluster`, `tls`."""
    openapi: str
    """Path of its description for programs."""
    version: str
    """Version of the server."""


@dataclass(frozen=True)
class AudioStats:
    """Counters of sound."""

    captured: int
    """Blocks of samples taken from the source."""
    encoded: int
    """Packets encoded; silence makes none."""
    encoded_bytes: int
    """Bytes of all packets."""
    restarts: Optional[int] = None
    """Times that the sound server died and was started again."""


@dataclass(frozen=True)
class AuditEntry:
    """An entry of the audit trail."""

    action: AuditAction
    """What was done."""
    at: datetime
    """Time of the action."""
    by: str
    """Who did it: `server`, `admin`, or `peer` or `token` with its id."""
    seq: int
    """Sequence number over all streamers; the value for `before`."""
    detail: Optional[str] = None
    """Details, if there are any."""


@dataclass(frozen=True)
class AuditList:
    """`GET /api/streamers/{id}/audit`."""

    entries: list[AuditEntry]
    """The newest first."""


class _BindSlot(TypedDict):
    source: SlotSource
    """Name of a source, or a source."""


class BindSlot(_BindSlot, total=False):
    """`POST /api/streamers/{id}/slots` and `PUT …/slots/{n}`."""

    quality: str
    """Rendition: `""` or `"native"` for the source itself, else as in `"360p"`."""


class _ButtonInput(TypedDict):
    button: ButtonOrName
    """The button."""
    type: Literal["button"]


class ButtonInput(_ButtonInput, total=False):
    """A mouse button."""

    action: KeyAction
    """Press and release, or only one of them."""
    at: Optional[Position]
    """Where; where the pointer is, if absent."""
    hold_ms: int
    """After how long a `down` is released by itself."""


class ChordInput(TypedDict):
    """Keys pressed in this order and released in the opposite one: `["ControlLeft", "KeyC"]`."""

    codes: list[KeyCode]
    """At most `MAX_HELD`."""
    type: Literal["chord"]


class _ClickInput(TypedDict):
    type: Literal["click"]


class ClickInput(_ClickInput, total=False):
    """Presses and releases a button."""

    at: Optional[Position]
    """Where; where the pointer is, if absent."""
    button: ButtonOrName
    """Which button; the left one, if absent."""
    count: int
    """How often; 2 is a double click. From 1 to 10."""


@dataclass(frozen=True)
class ClipboardBody:
    """`GET /api/streamers/{id}/clipboard`."""

    text: str
    """At most 131072 bytes; empty when it offers no text."""
    types: list[ClipboardType]
    """All types that it offers."""
    html: Optional[str] = None
    """The same text as HTML; at most 131072 bytes."""


@dataclass(frozen=True)
class ClipboardChangedEvent:

    type: Literal["clipboard-changed"]
    at: datetime
    """Time of the event."""
    streamer: StreamerId
    """The id of the streamer."""


@dataclass(frozen=True)
class Control:
    """Who may steer: `GET /api/streamers/{id}/control`, and the message `control`."""

    mode: ControlMode
    """Whether all controllers steer, or one at a time."""
    holder: Optional[PeerId] = None
    """The peer that has control; `null` when control is free or shared."""
    requests: list[PeerId] = field(default_factory=list)
    """Peers that have asked for control, in order."""


class ControlChange(TypedDict, total=False):
    """`PUT /api/streamers/{id}/control`: what is absent stays as it is."""

    holder: Optional[PeerId]
    """Give control to this peer. Only where one at a time has it."""
    mode: Optional[ControlMode]
    """The new mode. Changing to `shared` ends the control that somebody has."""
    release: bool
    """Take control from whoever has it."""


@dataclass(frozen=True)
class ControlEvent:

    mode: ControlMode
    """Whether all controllers steer, or one at a time."""
    requests: list[PeerId]
    """Peers that have asked for control, in order."""
    type: Literal["control"]
    at: datetime
    """Time of the event."""
    streamer: StreamerId
    """The id of the streamer."""
    holder: Optional[PeerId] = None
    """Who has control."""


class _CreateRoom(TypedDict):
    name: str
    """Shown to people, 1 to 100 characters."""


class CreateRoom(_CreateRoom, total=False):
    """`POST /api/rooms`."""

    expires_in_s: Optional[int]
    """It is deleted so many seconds after its creation, 1..=31536000; `null`: never. Absent: as configured."""
    id: Optional[StreamerId]
    """Its id, that of its streamer; a unique one if absent."""
    idle_timeout_s: Optional[int]
    """It ends, as `on_idle` says, when nobody has used it for so many seconds, 1..=31536000; `null`: never. Absent: as
    configured."""
    max_participants: int
    """Most peers at once, 1..=1000."""
    on_idle: Optional[OnIdle]
    """What happens to it then. Absent: as configured."""
    placement: Optional[Placement]
    """Which node of a cluster it may be at. Absent: any."""
    slots: int
    """Slots negotiated with every peer, 1..=16: so many pictures are seen at once."""
    source: Optional[SourceSpec]
    """What everybody sees in slot 0 besides each other: a desktop, say. The room ends with it."""
    sources: dict[str, SourceSpec]
    """Further sources, by name."""


class CreateStreamer(TypedDict, total=False):
    """`POST /api/streamers`."""

    expires_in_s: Optional[int]
    """It is deleted so many seconds after its creation, 1..=31536000; `null`: never. Absent: as configured."""
    id: Optional[StreamerId]
    """Its id; a unique one if absent."""
    idle_timeout_s: Optional[int]
    """It ends, as `on_idle` says, when nobody has used it for so many seconds, 1..=31536000; `null`: never. Absent: as
    configured."""
    max_bitrate_kbps: Optional[int]
    """What each peer is sent at most, kilobits per second, 100..=100000; absent: as much as its path carries."""
    on_idle: Optional[OnIdle]
    """What happens to it then. Absent: as configured."""
    placement: Optional[Placement]
    """Which node of the cluster it runs on; absent: the one with the most room. Ignored by a server that is in no
    cluster."""
    restart: RestartSpec
    """Whether and when its process is started again after it has ended by itself."""
    room: Optional[RoomSpec]
    """It is a room, in which people meet; then it needs no source. `POST /api/rooms` is shorter."""
    share: bool
    """Show `main` in slot 0 from the start. Without, all slots are free and viewers wait until something is shared."""
    slots: int
    """Slots negotiated with every peer, 1..=16."""
    source: Optional[SourceSpec]
    """The main source, called `main`: when it ends, the session ends. A streamer of cameras has none."""
    sources: dict[str, SourceSpec]
    """Further sources, by name."""


class _CreateToken(TypedDict):
    role: Role
    """What the token permits."""


class CreateToken(_CreateToken, total=False):
    """`POST /api/streamers/{id}/tokens`."""

    display_name: Optional[str]
    """The name that others see, 1 to 64 characters. Absent: the one that the client gives."""
    expires_in_s: int
    """Lifetime in seconds, 10..=604800."""
    max_bitrate_kbps: Optional[int]
    """What a peer with this token is sent at most, kilobits per second, 100..=100000."""
    rights: list[Literal["publish", "chat", "moderate"]]
    """What it permits among the peers."""
    user_id: Optional[str]
    """Names the person to your application, 1 to 128 characters. Other peers see it."""


@dataclass(frozen=True)
class CreatedEvent:

    type: Literal["created"]
    at: datetime
    """Time of the event."""
    streamer: StreamerId
    """The id of the streamer."""


@dataclass(frozen=True)
class CurrentApp:
    """An app that runs."""

    id: int
    """The number that the host gives it."""
    name: str
    """Empty when the host does not tell."""


@dataclass(frozen=True)
class DeletedEvent:

    type: Literal["deleted"]
    at: datetime
    """Time of the event."""
    streamer: StreamerId
    """The id of the streamer."""


class _DesktopSpec(TypedDict):
    type: Literal["desktop"]


class DesktopSpec(_DesktopSpec, total=False):
    """A Linux desktop."""

    audio: bool
    """Capture the session's sound."""
    bitrate_kbps: Optional[int]
    """Target bitrate of the video, kilobit per second; chosen from size and frame rate if absent."""
    camera: Optional[str]
    """The camera of its programs, which a peer's camera can be: a V4L2 device that takes pictures, as the kernel module
    v4l2loopback makes them, `/dev/video10`. One desktop at a time can have it."""
    command: Optional[Command]
    """Started in the session; when it ends, the session ends. Without one there is a small desktop (a window manager
    with its menu, and a terminal) if openbox and xterm are there and `auth.allowed_commands` is not set; else it is
    empty."""
    cursor: CursorMode
    """Who draws the mouse cursor."""
    display: Optional[str]
    """Attach to this running X display (`:7`) and start no X server."""
    env: dict[str, str]
    """Set for the command, on top of a small clean environment."""
    fps: int
    """Highest frame rate; an idle desktop produces no frames."""
    height: int
    """Pixels, even."""
    home: Home
    """Where its programs keep what is theirs."""
    max_height: Optional[int]
    """Largest height that it can be resized to, pixels. If absent: half as much again as `height`, and at least
    1200."""
    max_width: Optional[int]
    """Largest width that it can be resized to, pixels; the X server keeps memory for it. If absent: half as much again
    as `width`, and at least 1920."""
    microphone: bool
    """Give its programs a microphone, which peers can speak into; needs `audio`."""
    opengl: bool
    """Its programs can use OpenGL, drawn by the processor. Without it the X server takes 50 MB less and starts
    sooner."""
    width: int
    """Pixels, even."""


@dataclass(frozen=True)
class DownloadedEvent:

    file: FileEntry
    """The file."""
    type: Literal["downloaded"]
    at: datetime
    """Time of the event."""
    streamer: StreamerId
    """The id of the streamer."""


_DragInput = TypedDict("_DragInput", {"from": "Position", "to": "Position", "type": Literal["drag"]})


class DragInput(_DragInput, total=False):
    """Moves the pointer while a button is held: what lies at one position is dragged to another."""

    button: ButtonOrName
    """Which button; the left one, if absent."""
    duration_ms: int
    """How long that takes, in milliseconds; at most 10 000."""


@dataclass(frozen=True)
class EndedEvent:

    reason: str
    """The reason, with the last output of a command."""
    type: Literal["ended"]
    at: datetime
    """Time of the event."""
    streamer: StreamerId
    """The id of the streamer."""
    exit: Optional[StreamerExit] = None
    """The same for programs, if a process was started."""


class _ExecSpec(TypedDict):
    command: Command
    """The program that writes the stream."""
    type: Literal["exec"]


class ExecSpec(_ExecSpec, total=False):
    """A program that writes MPEG-TS, fragmented MP4 or H.264 to its standard output."""

    always_on: bool
    """Run while nobody watches."""
    audio: bool
    """Take the sound too."""
    video: VideoMode
    """What becomes of the picture."""


@dataclass(frozen=True)
class ExitReasonFatal:
    """A fatal error."""

    kind: Literal["fatal"]
    message: str
    """A description of what happened, for people."""


@dataclass(frozen=True)
class ExitReasonFinished:
    """The source has finished normally: the command exited with code 0, or the file is at its end."""

    kind: Literal["finished"]
    message: str
    """A description of what happened, for people."""


@dataclass(frozen=True)
class ExitReasonHung:
    """It hung, and was killed."""

    kind: Literal["hung"]
    message: str
    """A description of what happened, for people."""


@dataclass(frozen=True)
class ExitReasonOutOfMemory:
    """It was killed for want of memory; known only where its control group counts that."""

    kind: Literal["out-of-memory"]


@dataclass(frozen=True)
class ExitReasonSourceEnded:
    """The source ended: the command exited, the X server died."""

    kind: Literal["source-ended"]
    message: str
    """A description of what happened, for people."""


@dataclass(frozen=True)
class ExitReasonSourceFailed:
    """The source could not be started."""

    kind: Literal["source-failed"]
    message: str
    """A description of what happened, for people."""
    code: Optional[str] = None
    """A code for programs, if there is one."""


@dataclass(frozen=True)
class ExitReasonStopped:
    """It was told to stop."""

    kind: Literal["stopped"]


@dataclass(frozen=True)
class ExitReasonUnknown:
    """It gave no reason: it crashed or was killed."""

    kind: Literal["unknown"]


@dataclass(frozen=True)
class ExitReasonXServerDied:
    """The session's X server died."""

    kind: Literal["x-server-died"]
    message: str
    """A description of what happened, for people."""


class _FfmpegSpec(TypedDict):
    input: SecretUrl
    """Name of another source of this streamer, else a URL or a file."""
    type: Literal["ffmpeg"]


class FfmpegSpec(_FfmpegSpec, total=False):
    """Whatever ffmpeg can read; or another stream, encoded anew."""

    always_on: bool
    """Run while nobody watches."""
    audio: bool
    """Take the sound too."""
    bitrate_kbps: Optional[int]
    """Target bitrate of the video, kilobit per second; chosen from size and frame rate if absent."""
    height: Optional[int]
    """Scaled to this height, pixels, even; the width follows."""
    loop: bool
    """Begin a file again when it ends."""
    video: VideoMode
    """What becomes of the picture."""


@dataclass(frozen=True)
class FileEntry:
    """A file or directory in the home of a session."""

    kind: FileKind
    """What it is."""
    modified: datetime
    """When its content changed last."""
    name: str
    """Its name, to be shown. What is not UTF-8 in it is replaced; `path` has it as it is."""
    path: str
    """Where it is below the home, percent-encoded: what stands behind `files/` in its address."""
    size: int
    """Length in bytes; 0 for what is no file."""


@dataclass(frozen=True)
class FileList:
    """`GET /api/streamers/{id}/files/{path}` of a directory."""

    entries: list[FileEntry]
    """In order of their names, byte by byte."""
    next: Optional[str] = None
    """More follow: the value for `after`."""


@dataclass(frozen=True)
class FileUpload:
    """The state of an upload in parts that is not complete (`202`)."""

    received: int
    """How many bytes are here: where the next part begins."""
    total: int
    """Length of the whole file in bytes."""


@dataclass(frozen=True)
class Host:
    """A Moonlight host."""

    address: str
    """Name or address."""
    certificate_changed: bool
    """When it was last asked, it had another certificate than when it was paired, so it was told nothing: to be paired
    again if it was installed anew."""
    codecs: list[str]
    """Codecs that it encodes: `h264`, `hevc`, `av1`."""
    http_port: int
    """Port of its HTTP."""
    https_port: int
    """Port of its HTTPS."""
    id: str
    """Its name in this API."""
    name: str
    """What it calls itself."""
    paired: bool
    """It knows us, and we know it. `false` only once the host itself has said that it does not know us (any more)."""
    state: HostState
    """Whether the host answers."""
    unique_id: str
    """What other clients know it by."""
    current_app: Optional[CurrentApp] = None
    """The app that runs on the host; `None`: none."""
    pairing: Optional[Pairing] = None
    """The last attempt to pair since this server was started."""


@dataclass(frozen=True)
class HostApp:
    """An app of a host."""

    hdr: bool
    """Can have a high dynamic range."""
    id: int
    """The number that the host gives it."""
    image: str
    """Path of its picture."""
    name: str
    """May be empty."""


@dataclass(frozen=True)
class HostAppList:
    """`GET /api/hosts/{id}/apps`."""

    apps: list[HostApp]
    """In the host's order."""


@dataclass(frozen=True)
class HostFailure:
    """A stage that has failed."""

    code: str
    """Stable, for programs: `host_timeout`, `host_busy`, `host_lost` and the like."""
    message: str
    """A description, for people; it may change."""
    stage: HostStage
    """The stage that failed."""


@dataclass(frozen=True)
class HostList:
    """`GET /api/hosts`."""

    hosts: list[Host]
    """In the order in which they were added."""


@dataclass(frozen=True)
class HostStream:
    """The stream of a Moonlight host."""

    frames: int
    """Complete frames received in this session with the host."""
    keyframe_requests: int
    """Keyframes requested from the host."""
    lost_frames: int
    """Frames that are lost."""
    recovered_packets: int
    """Lost packets that were recovered by FEC."""
    skipped_frames: int
    """Frames received that could not be decoded, as an earlier one was lost."""
    stage: HostStage
    """The stage that it has reached."""
    failure: Optional[HostFailure] = None
    """The last failure; absent while it streams."""
    quality: Optional[LinkQuality] = None
    """Quality of the network between the host and this server; absent while it is not known."""
    round_trip_ms: Optional[float] = None
    """Round trip to the host, milliseconds; absent until it is measured."""
    termination: Optional[str] = None
    """The code by which the host ended the stream last, as in `0x80030023`."""


class _InputRequest(TypedDict):
    events: list[InputCommand]
    """Carried out in this order; at most 1024."""


class InputRequest(_InputRequest, total=False):
    """`POST /api/streamers/{id}/input`."""

    slot: int
    """Slot whose source gets it."""


class _KeyInput(TypedDict):
    code: KeyCode
    """The key, by its place."""
    type: Literal["key"]


class KeyInput(_KeyInput, total=False):
    """A key by its place on the keyboard."""

    action: KeyAction
    """Press and release, or only one of them."""
    hold_ms: int
    """After how long a `down` is released by itself."""


@dataclass(frozen=True)
class LastEnd:
    """How a streamer's process ended."""

    at: datetime
    """Time of the end."""
    log: list[str]
    """The last lines of its log."""
    reason: str
    """The reason, for people."""
    exit: Optional[StreamerExit] = None
    """Exit code or signal and the reason that it gave, if a process was started."""


@dataclass(frozen=True)
class LatencyHistogram:
    """Pictures by how late they were seen."""

    counts: list[int]
    """How many took up to 10, 20, 30, 40, 60, 80, 120, 200, 400, 800, 1600 ms and longer than the class before, and how
    many longer than all; empty while there are none."""
    sum_ms: float
    """All of their times together, milliseconds."""


@dataclass(frozen=True)
class Load:
    """What the machine of a node has to do, whoever has it done."""

    cpu_percent: int
    """Processors that are busy, percent of one, on average since the lease was renewed before."""
    memory_mb: int
    """Memory in use, MiB."""


@dataclass(frozen=True)
class LogTail:
    """`GET /api/streamers/{id}/logs`."""

    lines: list[str]
    """The last lines, in order; long ones are cut."""


@dataclass(frozen=True)
class MissedEvent:

    type: Literal["missed"]


class _MoonlightSpec(TypedDict):
    app: AppRef
    """What to run there: its name or its number in the host's list."""
    host_id: str
    """Which host, as `GET /api/hosts` names it. It must be paired."""
    type: Literal["moonlight"]


class MoonlightSpec(_MoonlightSpec, total=False):
    """A Moonlight host."""

    audio_queue: int
    """Audio packets that the system keeps while we are busy."""
    bitrate_kbps: Optional[int]
    """Of picture, parity and sound together, kilobit per second; chosen from size and frame rate if absent."""
    client_unique_id: Optional[str]
    """By which hosts tell clients apart, 16 hexadecimal digits; that of this server if absent."""
    codec: MoonlightCodec
    """What the host encodes."""
    color_range_full: bool
    """Luma from 0 to 255 instead of from 16 to 235."""
    colorspace: Colorspace
    """The colours of the pictures."""
    fps: int
    """Frames per second."""
    height: int
    """Pixels, even."""
    packet_size: int
    """Size of video packets in bytes, a multiple of 16."""
    play_audio_local: bool
    """The host's own loudspeakers play too."""
    video_queue: int
    """Video packets that the system keeps while we are busy."""
    width: int
    """Pixels, even."""


class _MoveInput(TypedDict):
    type: Literal["move"]


class MoveInput(_MoveInput, total=False):
    """Moves the pointer to a position, or by a distance, or both in this order."""

    at: Optional[Position]
    """The position to move to; without it the pointer moves by `dx` and `dy`."""
    dx: float
    """Pixels to the right."""
    dy: float
    """Pixels downwards."""


@dataclass(frozen=True)
class MovedEvent:

    type: Literal["moved"]
    at: datetime
    """Time of the event."""
    streamer: StreamerId
    """The id of the streamer."""


@dataclass(frozen=True)
class NetworkStats:
    """Counters of the peers' sockets."""

    keyframe_requests: int
    """PLI and FIR received."""
    not_retransmitted: int
    """Packets that a NACK asked for and that were gone."""
    peers: int
    """Peers connected now."""
    retransmitted: int
    """Packets sent again on a NACK."""
    rtp_packets: int
    """RTP packets sent, retransmissions included."""
    send_calls: int
    """System calls that sent them."""
    send_drops: int
    """Datagrams dropped because a socket was full."""
    sent_bytes: int
    """Bytes of all datagrams sent."""
    skipped_units: int
    """Access units not sent to a peer that could not keep up."""
    latency: Optional[LatencyHistogram] = None
    """How late viewers saw pictures, as they say themselves."""
    media_drops: Optional[int] = None
    """Access units and sound packets dropped because a sending thread was behind."""
    messages_dropped: Optional[int] = None
    """Messages on data channels that were dropped, as their peer sent more per second than it may."""


@dataclass(frozen=True)
class Node:
    """A node of the cluster."""

    labels: dict[str, str]
    """Its labels."""
    max_streamers: int
    """Most that it takes."""
    name: str
    """Its name."""
    state: NodeState
    """Whether it can be reached."""
    streamers: int
    """Streamers that it has."""
    this: bool
    """It is the one that has answered."""
    advertise: Optional[str] = None
    """URL at which the other nodes reach it; absent when it was lost before this server was started."""
    load: Optional[Load] = None
    """What its machine had to do when the lease was last renewed; absent where it is not known."""
    max_cpu_percent: Optional[int] = None
    """It takes no more while `load.cpu_percent` is not less (`cluster.max_cpu_percent`); absent without such a
    bound."""
    max_memory_mb: Optional[int] = None
    """It takes no more while `load.memory_mb` is not less (`cluster.max_memory_mb`); absent without such a bound."""
    public_url: Optional[str] = None
    """URL at which browsers reach it; absent when it has not said one."""
    version: Optional[str] = None
    """Version of its web-server; absent as `advertise` is."""


@dataclass(frozen=True)
class NodeList:
    """`GET /api/nodes`."""

    nodes: list[Node]
    """In order of their names."""


@dataclass(frozen=True)
class PairStarted:
    """The response to `POST /api/hosts/{id}/pair`."""

    pin: str
    """To be typed on the host."""
    state: PairingState
    """How far it is."""


@dataclass(frozen=True)
class Pairing:
    """An attempt to pair."""

    state: PairingState
    """How far it is."""
    code: Optional[str] = None
    """Why it has failed, for programs."""
    error: Optional[str] = None
    """Why it has failed, for people."""
    pin: Optional[str] = None
    """To be typed on the host, while it waits for that."""


@dataclass(frozen=True)
class Peer:
    """A peer of a streamer."""

    id: PeerId
    """Its id."""
    joined: datetime
    """When it joined."""
    kind: PeerKind
    """The protocol by which it joined."""
    role: Role
    """What it may do."""
    state: PeerState
    """State of its connection."""
    stats: PeerStats
    """Its counters."""
    display_name: Optional[str] = None
    """The name that others see."""
    max_bitrate_kbps: Optional[int] = None
    """What it is sent at most, kilobits per second; absent: as much as its path carries."""
    rights: list[Literal["publish", "chat", "moderate"]] = field(default_factory=list)
    """What it may do among the peers."""
    session_camera: Optional[bool] = None
    """The desktop's programs see its camera while it publishes one."""
    session_microphone: Optional[bool] = None
    """The desktop's programs hear its microphone while it publishes one."""
    token_id: Optional[TokenId] = None
    """The token that it joined with, if that was one of `CreateToken`. Revoking it removes the peer."""
    user_id: Optional[str] = None
    """The user id of its token."""


@dataclass(frozen=True)
class PeerChangedEvent:

    kind: PeerKind
    """The protocol by which it joined."""
    peer: PeerId
    """The id of the peer."""
    role: Role
    """What it may do."""
    state: PeerState
    """State of its connection."""
    type: Literal["peer-changed"]
    at: datetime
    """Time of the event."""
    streamer: StreamerId
    """The id of the streamer."""
    display_name: Optional[str] = None
    """The name that others see."""
    rights: list[Literal["publish", "chat", "moderate"]] = field(default_factory=list)
    """What it may do among the peers."""
    user_id: Optional[str] = None
    """The user id of its token."""


@dataclass(frozen=True)
class PeerJoinedEvent:

    kind: PeerKind
    """The protocol by which it joined."""
    peer: PeerId
    """The id of the peer."""
    role: Role
    """What it may do."""
    state: PeerState
    """State of its connection."""
    type: Literal["peer-joined"]
    at: datetime
    """Time of the event."""
    streamer: StreamerId
    """The id of the streamer."""
    display_name: Optional[str] = None
    """The name that others see."""
    rights: list[Literal["publish", "chat", "moderate"]] = field(default_factory=list)
    """What it may do among the peers."""
    user_id: Optional[str] = None
    """The user id of its token."""


@dataclass(frozen=True)
class PeerLatency:
    """How late one viewer sees pictures."""

    histogram: LatencyHistogram
    """Since it joined."""
    p50_ms: float
    """Half of the pictures of its last report, of ten seconds, were not later; milliseconds."""
    p95_ms: float
    """95 % of them were not later; milliseconds."""


@dataclass(frozen=True)
class PeerLeftEvent:

    peer: PeerId
    """The id of the peer."""
    type: Literal["peer-left"]
    at: datetime
    """Time of the event."""
    streamer: StreamerId
    """The id of the streamer."""
    reason: Optional[str] = None
    """The reason, for people."""


@dataclass(frozen=True)
class PeerList:
    """`GET /api/streamers/{id}/peers`."""

    peers: list[Peer]
    """In order of joining."""


class PeerPatch(TypedDict, total=False):
    """`PATCH /api/streamers/{id}/peers/{peer_id}`."""

    max_bitrate_kbps: Optional[int]
    """What it is sent at most from now on, kilobits per second, 100..=100000, within what the streamer allows; 0: as
    much as its path carries; absent: as before."""
    rights: Optional[list[Literal["publish", "chat", "moderate"]]]
    """What it may do among the peers from now on; absent: as before."""
    role: Optional[Role]
    """What it may do with the session from now on; absent: as before."""
    session_camera: Optional[bool]
    """Whether the desktop's programs see its camera from now on, in place of any other peer's; absent: as before. It
    must be a controller with the right to publish."""
    session_microphone: Optional[bool]
    """Whether the desktop's programs hear its microphone from now on; absent: as before. It must be a controller with
    the right to publish."""


@dataclass(frozen=True)
class PeerStats:
    """Counters of one peer."""

    bytes: int
    """Bytes sent."""
    keyframe_requests: int
    """PLI and FIR it sent."""
    lost: int
    """Packets of video that it reported lost, in all slots together."""
    packets: int
    """RTP packets sent."""
    retransmitted: int
    """Packets sent again on its request."""
    skipped_units: int
    """Access units not sent to it, as it could not keep up."""
    copied: Optional[int] = None
    """Packets sent a second time before it asked, as its path loses some."""
    estimate_bps: Optional[int] = None
    """Estimated capacity of its path, bits per second; absent while the path has shown no limit."""
    frames: Optional[int] = None
    """Access units sent to it, of all slots together."""
    latency: Optional[PeerLatency] = None
    """How late it sees pictures, from their capture to its screen, as it says itself; null while it has said
    nothing."""
    loss: Optional[float] = None
    """Share of packets that its path has lost lately, 0 to 1."""
    probed: Optional[int] = None
    """Packets sent to see whether its path carries more than is known."""
    queue_ms: Optional[float] = None
    """Queuing delay of its path, milliseconds: the delay above the lowest that was seen."""
    round_trip_ms: Optional[float] = None
    """Round trip, milliseconds, from its last receiver report."""
    transport: Optional[Transport] = None
    """What carries its packets; null until it is connected."""


@dataclass(frozen=True)
class Pixel:
    """A pixel of a picture."""

    x: int
    """From the left."""
    y: int
    """From the top."""


class Placement(TypedDict, total=False):
    """Which node a streamer may run on."""

    labels: dict[str, str]
    """Nodes that have all of these labels."""
    node: Optional[str]
    """The node on which it is started. When that is lost, another one may start it."""


class PointerInput(TypedDict):
    """Moves the pointer."""

    at: Position
    """The position to move to."""
    type: Literal["pointer"]


class Position(TypedDict):
    """A point of a slot's picture."""

    x: float
    """Pixels from the left."""
    y: float
    """Pixels from the top."""


@dataclass(frozen=True)
class ProcessStats:
    """Counters of one process, from `/proc`."""

    cpu_us: int
    """User and system time, microseconds in total."""
    descriptors: int
    """Open file descriptors."""
    pid: int
    """Process id."""
    rss_bytes: int
    """Resident memory, bytes."""
    threads: int
    """Number of threads."""


class PublishSpec(TypedDict):
    """What a peer publishes. Made by its peer, never by a request."""

    kinds: list[PublishKind]
    """What it sends of it now."""
    peer: PeerId
    """The peer."""
    type: Literal["publish"]


@dataclass(frozen=True)
class Reader:
    """What reads a camera."""

    program: ReaderProgram
    """The program that reads it."""
    reason: Optional[str] = None
    """Why it is not the default reader."""


class _ResizeRequest(TypedDict):
    height: int
    """Pixels, even."""
    width: int
    """Pixels, even."""


class ResizeRequest(_ResizeRequest, total=False):
    """`POST /api/streamers/{id}/resize`."""

    slot: int
    """Slot whose source is resized."""


class RestartSpec(TypedDict, total=False):
    """Whether and when a streamer that has ended by itself is started again."""

    attempts: int
    """Quick failures in a row after which it is left in `failed`, 1..=1000000. One that ran for a minute counts
    anew."""
    delay_ms: int
    """Pause before the first restart, ms; doubled with each quick failure, a quarter more or less by chance."""
    max_delay_ms: int
    """Longest such pause, ms."""
    policy: RestartPolicy
    """The ends after which it is started again."""


@dataclass(frozen=True)
class Restarts:
    """Restarts of a streamer so far."""

    count: int
    """How often it was started again since it was created."""
    last: Optional[LastEnd] = None
    """How it last ended, if it has."""
    next: Optional[datetime] = None
    """Time of the next restart, while one is pending."""


@dataclass(frozen=True)
class Room:
    """A room, in `GET /api/rooms` and `GET /api/rooms/{id}`. `GET /api/streamers/{id}` has the rest of it."""

    created: datetime
    """When it was created."""
    has_source: bool
    """Whether it has a source of its own, such as a desktop."""
    id: StreamerId
    """Its id, that of its streamer."""
    max_participants: int
    """Most peers at once."""
    name: str
    """Shown to people."""
    slots: int
    """Slots negotiated with every peer."""
    state: StreamerState
    """State of its streamer."""
    expires_at: Optional[datetime] = None
    """When it will be deleted, if it will."""
    node: Optional[str] = None
    """The node of the cluster that it is at; absent without a cluster."""
    participants: Optional[int] = None
    """How many there are; absent in the list of a cluster where the room is at another node than the one that has
    answered."""


@dataclass(frozen=True)
class RoomList:
    """`GET /api/rooms`."""

    rooms: list[Room]
    """In order of their ids."""


class _RoomSpec(TypedDict):
    name: str
    """Shown to people, 1 to 100 characters."""


class RoomSpec(_RoomSpec, total=False):
    """What makes a room of a streamer."""

    max_participants: int
    """Most peers at once, 1..=1000; the next one is refused with `room_full`."""


class _RtspSpec(TypedDict):
    url: SecretUrl
    """`rtsp://user:password@host:554/path`."""
    type: Literal["rtsp"]


class RtspSpec(_RtspSpec, total=False):
    """An IP camera."""

    always_on: bool
    """Stay connected while nobody watches."""
    audio: bool
    """Take its sound too."""
    transport: RtspTransport
    """The transport of RTP."""


class _SetClipboard(TypedDict):
    text: str
    """At most 131072 bytes."""


class SetClipboard(_SetClipboard, total=False):
    """`PUT /api/streamers/{id}/clipboard`."""

    html: Optional[str]
    """The same text as HTML; at most 131072 bytes."""


@dataclass(frozen=True)
class Source:
    """A source of a streamer."""

    name: str
    """The name of the source."""
    source: SourceSpec
    """What it is, without passwords."""
    state: SourceState
    """Its state."""
    watchers: int
    """Slots of viewers that show it, renditions included."""
    codec: Optional[VideoCodec] = None
    """Codec of its video; absent while it is not known."""
    host: Optional[HostStream] = None
    """State of the stream of a Moonlight host."""
    pointer: Optional[Pixel] = None
    """Where the pointer is, of a desktop or a window; `null` where it is outside of the picture or not known."""
    reader: Optional[Reader] = None
    """What reads a camera, once it was tried."""
    reason: Optional[str] = None
    """Why it is offline or failed."""
    size: Optional[tuple[int, int]] = None
    """Size of its pictures; absent while it is not known."""


@dataclass(frozen=True)
class SourceList:
    """`GET /api/streamers/{id}/sources`."""

    sources: list[Source]
    """In order of names."""


@dataclass(frozen=True)
class StateEvent:

    state: StreamerState
    """The state that it is in now."""
    type: Literal["state"]
    at: datetime
    """Time of the event."""
    streamer: StreamerId
    """The id of the streamer."""
    reason: Optional[str] = None
    """The reason, if there is one."""


@dataclass(frozen=True)
class StreamInfo:
    """What an active slot shows."""

    cursor: CursorMode
    """Who draws the cursor."""
    fps: int
    """Highest frame rate."""
    input: bool
    """Whether it takes input."""
    is_focused: bool = field(metadata={"wire": "isFocused"})
    """The window has the focus."""
    mid: str
    """Media section of the video, where all slots are negotiated from the start. For a viewer without, only that of a
    `streams-info` that follows an offer holds."""
    slot: int
    """The slot, counted from 0."""
    source: str
    """Name of the source."""
    track_id: str = field(metadata={"wire": "trackId"})
    """`video0` …; the same as the track's id."""
    app_name: Optional[str] = field(default=None, metadata={"wire": "appName"})
    """Application of the window, if it is one."""
    audio_mid: Optional[str] = field(default=None, metadata={"wire": "audioMid"})
    """Media section of the sound, likewise; absent when the slot has no sound."""
    camera: Optional[bool] = None
    """Whether its programs can see the camera of a peer."""
    codec: Optional[VideoCodec] = None
    """Codec of the video. Absent until there is a picture."""
    height: Optional[int] = None
    """Height in pixels."""
    microphone: Optional[bool] = None
    """Whether its programs can hear the microphones of peers."""
    publisher: Optional[PeerId] = None
    """The peer that publishes it, if one does. That peer itself does not receive it."""
    width: Optional[int] = None
    """Pixels; positions of input are in these. Absent until there is a picture."""
    window_name: Optional[str] = field(default=None, metadata={"wire": "windowName"})
    """Title of the window, if it is one."""


@dataclass(frozen=True)
class StreamList:
    """`GET /api/streams`."""

    max_slots: int
    """Most slots of one multistream client."""
    streamer: StreamerId
    """The streamer that has them."""
    streams: list[Source]
    """In order of names."""


@dataclass(frozen=True)
class Streamer:
    """One streamer, in `GET /api/streamers` and `GET /api/streamers/{id}`."""

    created: datetime
    """When it was created."""
    id: StreamerId
    """Its id."""
    peers: list[Peer]
    """All peers."""
    since: datetime
    """Since when it is in this state."""
    slots: list[StreamInfo]
    """The slots that show something."""
    spec: StreamerSpec
    """What it was created from."""
    state: StreamerState
    """Its state."""
    control: Optional[Control] = None
    """Who may steer, and who asks to."""
    exit: Optional[StreamerExit] = None
    """How its process ended, once it has."""
    expires_at: Optional[datetime] = None
    """When it will be deleted, if it will."""
    idle_since: Optional[datetime] = None
    """Since when nobody uses it; absent while somebody watches."""
    idle_timeout_s: Optional[int] = None
    """After so many seconds without use it ends; absent: never."""
    node: Optional[str] = None
    """The node that runs it. Absent where the server is in no cluster."""
    on_idle: Optional[OnIdle] = None
    """What happens to it then."""
    pointer: Optional[Pixel] = None
    """Where the pointer is in the picture of `main`, in the response to `GET` of this streamer alone. `null` where
    `main` is no running desktop."""
    reason: Optional[str] = None
    """Why it is in this state, if there is more to say."""
    restarts: Optional[Restarts] = None
    """How often it was started again, and why."""
    stats: Optional[StreamerStats] = None
    """Its counters, at most about a second old; absent before the first report."""


@dataclass(frozen=True)
class StreamerExit:
    """How the streamer's process ended, and the reason if it gave one."""

    reason: ExitReason
    """The reason that it gave."""
    code: Optional[int] = None
    """Exit code, if it exited."""
    signal: Optional[int] = None
    """Signal, if one ended it."""


@dataclass(frozen=True)
class StreamerList:
    """`GET /api/streamers`."""

    streamers: list[Streamer]
    """In order of their ids."""
    next: Optional[StreamerId] = None
    """The last id of this page, for `after`, if more follow. Absent where no `limit` was asked for."""


class StreamerPatch(TypedDict, total=False):
    """`PATCH /api/streamers/{id}`: what is absent stays as it is."""

    expires_in_s: Optional[int]
    """It is deleted so many seconds from now, 1..=31536000; `null`: never."""
    idle_timeout_s: Optional[int]
    """It ends, as `on_idle` says, when nobody has used it for so many seconds, 1..=31536000; `null`: never."""
    on_idle: Optional[OnIdle]
    """What happens to it then."""


@dataclass(frozen=True)
class StreamerSpec:
    """All that is needed to run one streamer."""

    max_bitrate_kbps: Optional[int] = None
    """What each peer is sent at most, kilobits per second, 100..=100000; absent: as much as its path carries."""
    restart: Optional[RestartSpec] = None
    """How it is started again when it has ended by itself."""
    room: Optional[RoomSpec] = None
    """It is a room, in which people meet. A room needs no source."""
    share: Optional[bool] = None
    """Show `main` in slot 0 from the start. Without, all slots are free and viewers wait until something is shared."""
    slots: Optional[int] = None
    """Slots negotiated with every peer, 1..=16."""
    source: Optional[SourceSpec] = None
    """What the session is about, called `main`: when it ends, the session ends. A streamer of cameras has none."""
    sources: Optional[dict[str, SourceSpec]] = None
    """Further sources, by the name under which they can be asked for."""


@dataclass(frozen=True)
class StreamerStats:
    """All counters of a streamer at one moment."""

    audio: AudioStats
    """The sound of the main source."""
    input_events: int
    """Input that reached the sink."""
    network: NetworkStats
    """All peers together."""
    process: ProcessStats
    """The streamer's process, without the X server and the programs of the session."""
    uptime_ms: int
    """Milliseconds since the process started."""
    video: VideoStats
    """The video of the main source."""
    first_frame_ms: Optional[int] = None
    """From the start of the source to its first encoded keyframe, in ms; absent before it."""
    peers_refused: Optional[int] = None
    """Joins that were refused because the limit of peers was reached."""


class _TestSpec(TypedDict):
    type: Literal["test"]


class TestSpec(_TestSpec, total=False):
    """A moving picture with a frame counter and a time code, and a tone with clicks."""

    audio: bool
    """Produce the tone."""
    bitrate_kbps: Optional[int]
    """Target bitrate of the video, kilobit per second; chosen from size and frame rate if absent."""
    fps: int
    """Frames per second."""
    height: int
    """Pixels, even."""
    width: int
    """Pixels, even."""


class TextInput(TypedDict):
    """Types a text, whatever the layout; a newline is Enter."""

    text: str
    """At most `MAX_TYPED` characters."""
    type: Literal["text"]


@dataclass(frozen=True)
class Token:
    """The response to `CreateToken`. The token itself is not kept and cannot be asked for again."""

    expires: datetime
    """When the token expires."""
    role: Role
    """What the token permits."""
    token: str = field(repr=False)
    """The secret: `Authorization: Bearer …`."""
    token_id: TokenId
    """Its id, for revoking it."""
    rights: list[Literal["publish", "chat", "moderate"]] = field(default_factory=list)
    """What it permits among the peers."""


@dataclass(frozen=True)
class VideoStats:
    """Capture and encoding."""

    capture_us: int
    """Time spent grabbing, microseconds in total."""
    captured: int
    """Frames taken from the source."""
    captured_bytes: int
    """Rows grabbed times their length: bytes copied from the source."""
    convert_us: int
    """Time spent converting, microseconds in total."""
    converted_bytes: int
    """Bytes of pixels converted to the encoder's format."""
    dropped: int
    """Frames left out before encoding, as the encoder or the bitrate was behind."""
    encode_us: int
    """Time spent encoding, microseconds in total."""
    encoded: int
    """Calls of the encoder that gave an access unit."""
    encoded_bytes: int
    """Bytes of all access units."""
    height: int
    """Current height, pixels."""
    keyframes: int
    """Of these, keyframes."""
    keyframes_asked: int
    """Keyframes asked for by peers, joins and switches, before coalescing."""
    width: int
    """Current width, pixels."""


class WaitInput(TypedDict):
    """Lets time pass before what follows."""

    ms: int
    """Milliseconds, at most 10 000; all waits and drags of a request together at most 30 000."""
    type: Literal["wait"]


class _WheelInput(TypedDict):
    type: Literal["wheel"]


class WheelInput(_WheelInput, total=False):
    """Turns the wheel, in notches; positive is down and right."""

    at: Optional[Position]
    """Where; where the pointer is, if absent."""
    dx: float
    """Notches to the right."""
    dy: float
    """Notches downwards."""


@dataclass(frozen=True)
class Window:
    """A window of a desktop."""

    app: str
    """Name of its program (`WM_CLASS`); empty if it has none."""
    focused: bool
    """Whether it has the keyboard focus."""
    height: int
    """Height in pixels."""
    id: int
    """For a slot's source `{"type": "window", "window_id": …}`."""
    title: str
    """As its frame shows it."""
    width: int
    """Width in pixels."""


@dataclass(frozen=True)
class WindowClosedEvent:

    type: Literal["window-closed"]
    window_id: int
    """Its id, as in `GET …/windows`."""
    at: datetime
    """Time of the event."""
    streamer: StreamerId
    """The id of the streamer."""


@dataclass(frozen=True)
class WindowList:
    """`GET /api/streamers/{id}/windows`."""

    windows: list[Window]
    """Those that can be shared, the topmost first."""


@dataclass(frozen=True)
class WindowOpenedEvent:

    app: str
    """Name of its program."""
    title: str
    """As its frame shows it."""
    type: Literal["window-opened"]
    window_id: int
    """As `GET …/windows` names it."""
    at: datetime
    """Time of the event."""
    streamer: StreamerId
    """The id of the streamer."""


class _WindowSpec(TypedDict):
    window_id: int
    """Which, as `GET …/windows` names it."""
    type: Literal["window"]


class WindowSpec(_WindowSpec, total=False):
    """One window of the streamer's desktop."""

    bitrate_kbps: Optional[int]
    """Target bitrate of the video, kilobit per second; chosen from size and frame rate if absent."""
    fps: int
    """Highest frame rate; a window at rest produces no frames."""


@dataclass(frozen=True)
class WindowTitledEvent:

    title: str
    """As its frame shows it."""
    type: Literal["window-titled"]
    window_id: int
    """Its id, as in `GET …/windows`."""
    at: datetime
    """Time of the event."""
    streamer: StreamerId
    """The id of the streamer."""


# An app of a host.
AppRef = Union[int, str]

# An action on a streamer.
AuditAction = Literal["created", "adopted", "restarted", "ended", "stopped", "deleted", "moved", "joined", "left", "removed", "role-changed", "control-changed", "lifetime-changed", "token-issued", "token-revoked", "file-read", "file-written", "file-deleted"]

# A mouse button, 1..=9 as X counts: 1 left, 2 middle, 3 right, 4–7 wheel, 8 back, 9 forward.
Button = int

# The name of a mouse button.
ButtonName = Literal["left", "middle", "right", "back", "forward"]

# A mouse button of a command: its number as X counts, or its name.
ButtonOrName = Union["Button", "ButtonName"]

# A media type that is transferred.
ClipboardType = Literal["text/plain", "text/html", "image/png"]

# Colours of a picture.
Colorspace = Literal["rec601", "rec709", "rec2020"]

# What to run: one text for the shell, or a program with its arguments.
Command = Union[str, list[str]]

# How controllers share a streamer.
ControlMode = Literal["shared", "exclusive"]

# Who draws the mouse cursor of a desktop.
CursorMode = Literal["client", "embedded"]

# `data` of one event of a stream.
Event = Union["StreamerEvent", "MissedEvent", Unknown]

# Why a streamer ended, as it or its monitor says.
ExitReason = Union["ExitReasonStopped", "ExitReasonSourceFailed", "ExitReasonSourceEnded", "ExitReasonFinished", "ExitReasonXServerDied", "ExitReasonOutOfMemory", "ExitReasonHung", "ExitReasonFatal", "ExitReasonUnknown", Unknown]

# What an entry of a directory is.
FileKind = Literal["file", "directory", "link", "other"]

# `session`, `kept`, or an absolute path that the configuration allows.
Home = str

# A stage of the stream of a host, in order.
HostStage = Literal["asking", "launching", "negotiating", "waiting", "streaming", "lost", "ended"]

# Whether a host answers.
HostState = Literal["online", "offline"]

# One command of `POST /api/streamers/{id}/input`, for programs that steer a session.
InputCommand = Union["KeyInput", "ChordInput", "TextInput", "PointerInput", "MoveInput", "DragInput", "WaitInput", "ClickInput", "ButtonInput", "WheelInput"]

# What to do with a key or button.
KeyAction = Literal["tap", "down", "up"]

# A key by its place on the keyboard: a `KeyboardEvent.code` of UI Events (`KeyA`, `ArrowLeft`).
KeyCode = str

# Quality of a network.
LinkQuality = Literal["ok", "poor"]

# What a host encodes.
MoonlightCodec = Literal["h264", "hevc", "av1"]

# Whether a node can be reached, and takes streamers.
NodeState = Literal["alive", "draining", "lost"]

# What happens to a streamer that nobody has used for its `idle_timeout_s`.
OnIdle = Literal["stop", "delete"]

# How far an attempt to pair is.
PairingState = Literal["waiting_for_pin", "verifying", "paired", "failed"]

# Identifies a peer, one connection to a streamer. The streamer gives it out, so that it outlives the web-server.
PeerId = str

# The protocol by which a peer joined.
PeerKind = Literal["native", "whep", "whip", "multistream", "mp4", "rtsp", "multi-webrtc"]

# Life of a peer connection.
PeerState = Literal["connecting", "connected", "lost"]

# What a peer may publish, each in a section of its own.
PublishKind = Literal["camera", "screen", "microphone"]

# A program that reads cameras.
ReaderProgram = Literal["streamer", "ffmpeg"]

# After which ends a streamer is started again.
RestartPolicy = Literal["never", "on-failure", "always"]

# What somebody may do with a streamer.
Role = Literal["viewer", "controller"]

# How the media of an RTSP session travels.
RtspTransport = Literal["tcp", "udp"]

# A URL, file or name of a stream. It may hold a secret, so it is shown with `***` for everything but scheme, host and
# port of a URL.
SecretUrl = str

# What a slot is to show.
SlotSource = Union[str, "SourceSpec"]

# Picture format of a snapshot.
SnapshotFormat = Literal["png", "jpeg"]

# What produces media, by `type`.
SourceSpec = Union["DesktopSpec", "TestSpec", "WindowSpec", "RtspSpec", "FfmpegSpec", "ExecSpec", "MoonlightSpec", "PublishSpec"]

# Life of a source.
SourceState = Literal["idle", "starting", "running", "offline"]

# An event of a streamer.
StreamerEvent = Union["ClipboardChangedEvent", "ControlEvent", "CreatedEvent", "DeletedEvent", "DownloadedEvent", "EndedEvent", "MovedEvent", "PeerChangedEvent", "PeerJoinedEvent", "PeerLeftEvent", "StateEvent", "WindowClosedEvent", "WindowOpenedEvent", "WindowTitledEvent", Unknown]

# The name of a streamer: `[A-Za-z0-9][A-Za-z0-9._-]{0,63}`.
StreamerId = str

# Life of a streamer.
StreamerState = Literal["starting", "running", "restarting", "failed", "stopped", "stopping", "lost"]

# Identifies a token that the web-server issued. It is not the token, and no secret.
TokenId = str

# What carries a peer's packets.
Transport = Literal["udp", "tcp", "websocket"]

# A video codec, named as in SDP and in `RTCRtpCodec.mimeType`.
VideoCodec = Literal["H264", "H265", "AV1", "VP8", "VP9"]

# What becomes of a picture that comes from elsewhere.
VideoMode = Literal["h264", "vp8", "copy"]
