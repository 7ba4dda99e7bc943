"""What decides, without a server."""

from __future__ import annotations

import datetime
import io
import sys
from datetime import timedelta
from typing import Any, Optional

import pytest

import oriel
from oriel import _arguments, _keys, _mp4, _options, _policy, _sse
from oriel._decode import decode, decode_event
from oriel._picture import Screenshot, differing_pixels
from oriel.errors import class_of
from oriel.models import AuditEntry, ExitReason, StateEvent, StreamerExit, StreamInfo, Unknown


@pytest.mark.parametrize(
    ("combination", "codes"),
    [
        ("ctrl+l", ["ControlLeft", "KeyL"]),
        ("Control_L+Shift_R+t", ["ControlLeft", "ShiftRight", "KeyT"]),
        ("Return", ["Enter"]),
        ("Page_Up", ["PageUp"]),
        ("alt+F4", ["AltLeft", "F4"]),
        ("super+Left", ["MetaLeft", "ArrowLeft"]),
        ("NumpadEnter", ["NumpadEnter"]),
        ("KeyA", ["KeyA"]),
        ("7", ["Digit7"]),
        ("ctrl+plus", ["ControlLeft", "NumpadAdd"]),
        ("ctrl+-", ["ControlLeft", "Minus"]),
    ],
)
def test_keys_have_the_names_that_people_and_x_use(combination: str, codes: list[str]) -> None:
    assert _keys.chord(combination) == codes


@pytest.mark.parametrize("name", ["hello", "ä", "", "ctrl+", "F25"])
def test_what_is_no_key_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is no key"):
        _keys.chord(name)


def _api_error(status: int, code: str, retry_after: Optional[float]) -> oriel.ApiError:
    return class_of(status, code)(status=status, code=code, detail="", retry_after=retry_after)


@pytest.mark.parametrize(
    ("error", "repeatable", "pause"),
    [
        (oriel.ConnectionFailed("", sent=False), False, 0.2),
        (oriel.ConnectionFailed("", sent=True), True, 0.2),
        (oriel.ConnectionFailed("", sent=True), False, None),
        (oriel.RequestTimeout(""), True, None),
        (_api_error(429, "too_many_requests", 1), False, 1.0),
        (_api_error(429, "too_many_snapshots", 1), True, 1.0),
        (_api_error(503, "streamer_busy", 1), False, None),
        (_api_error(503, "streamer_busy", 1), True, 1.0),
        (_api_error(429, "too_many_streamers", None), True, None),
        (_api_error(429, "too_many_requests", 3600), True, None),
        (_api_error(404, "streamer_not_found", 1), True, None),
    ],
)
def test_only_what_may_be_repeated_is(error: Exception, repeatable: bool, pause: Optional[float]) -> None:
    assert _policy.pause(error, repeated=0, repeatable=repeatable, retries=4) == pause


def test_repetitions_are_bounded_and_slow_down() -> None:
    error = oriel.ConnectionFailed("", sent=False)
    pauses = [_policy.pause(error, repeated=n, repeatable=True, retries=3) for n in range(4)]
    assert pauses == [0.2, 0.4, 0.8, None]


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "invalid_field", oriel.InvalidRequest),
        (400, "command_failed", oriel.StartFailed),
        (401, "unauthorized", oriel.Unauthorized),
        (403, "not_allowed", oriel.Forbidden),
        (404, "slot_not_found", oriel.NotFound),
        (409, "no_free_slot", oriel.Conflict),
        (409, "streamer_failed", oriel.SessionUnavailable),
        (409, "streamer_moved", oriel.SessionUnavailable),
        (413, "clipboard_too_long", oriel.InvalidRequest),
        (429, "room_full", oriel.LimitReached),
        (504, "stalled", oriel.SessionUnavailable),
        (507, "not_durable", oriel.ServerError),
    ],
)
def test_each_code_has_its_class(status: int, code: str, kind: type[oriel.ApiError]) -> None:
    assert class_of(status, code) is kind


def test_events_are_told_however_they_are_cut() -> None:
    text = b': hello\nretry: 1000\n\nid: a-1\n\nid: a-2\r\nevent: state\r\ndata: {"a":\ndata: 1}\r\n\r\nevent: missed\ndata: x\n\n'
    expected = [
        _sse.Message("a-1", None),
        _sse.Message("a-2", '{"a":\n1}'),
        _sse.Message("a-2", "x"),
    ]
    for size in (1, 2, 7, len(text)):
        parser = _sse.Parser()
        told = [message for at in range(0, len(text), size) for message in parser.push(text[at : at + size])]
        assert told == expected


def test_an_endless_line_of_events_is_refused() -> None:
    with pytest.raises(oriel.UnexpectedResponse):
        _sse.Parser().push(b"x" * (_sse.MAX_LINE + 1))


def test_an_mp4_is_cut_where_a_file_may_end() -> None:
    def box(kind: bytes, length: int) -> bytes:
        return (8 + length).to_bytes(4, "big") + kind + b"x" * length

    header, fragment = box(b"ftyp", 8) + box(b"moov", 100), box(b"moof", 20) + box(b"mdat", 300)
    text = header + fragment + fragment
    for size in (1, 13, len(text)):
        pieces = _mp4.Pieces()
        assert [piece for at in range(0, len(text), size) for piece in pieces.push(text[at : at + size])] == [
            header,
            fragment,
            fragment,
        ]
    with pytest.raises(oriel.UnexpectedResponse):
        _mp4.Pieces().push(b"\xff" * 16)


def test_models_take_what_newer_servers_say() -> None:
    at = "2026-01-01T12:00:00.123456789Z"
    known = {"type": "state", "at": at, "streamer": "a", "state": "new-state", "reason": None, "new": 1}
    event = decode_event(known)
    assert isinstance(event, StateEvent)
    assert event.at == datetime.datetime(2026, 1, 1, 12, 0, 0, 123456, datetime.timezone.utc)
    assert event.state == "new-state"  # type: ignore[comparison-overlap]
    assert decode_event({"type": "other", "x": 1}) == Unknown("other", {"type": "other", "x": 1})
    exit = decode(StreamerExit, {"reason": {"kind": "hung", "message": "m"}, "code": 3})
    reason: ExitReason = exit.reason
    assert not isinstance(reason, Unknown)
    assert (reason.kind, exit.code, exit.signal) == ("hung", 3, None)
    info = {"appName": "x", "cursor": "client", "fps": 1, "input": True, "isFocused": True, "mid": "", "slot": 0}
    assert decode(StreamInfo, {**info, "source": "main", "trackId": "t"}).is_focused


@pytest.mark.parametrize(
    "change", [{"at": 1}, {"at": "yesterday"}, {"by": None}, {"seq": "1"}, {"seq": True}, {"seq": ...}]
)
def test_what_is_no_model_is_refused_by_its_path(change: dict[str, Any]) -> None:
    entry = {"action": "created", "at": "2026-01-01T12:00:00Z", "by": "admin", "seq": 1}
    entry = {key: value for key, value in {**entry, **change}.items() if value is not ...}
    with pytest.raises(oriel.UnexpectedResponse, match=next(iter(change))):
        decode(AuditEntry, entry)


def test_a_session_is_described_as_the_api_takes_it() -> None:
    body = _options.session_body({"width": 640, "command": ["xterm"], "expires": timedelta(hours=1), "id": "a"})
    assert body == {
        "id": "a",
        "source": {"type": "desktop", "width": 640, "command": ["xterm"]},
        "expires_in_s": 3600,
        "idle_timeout_s": 3600,
        "on_idle": "delete",
    }
    assert _options.session_body({"idle_timeout": None})["idle_timeout_s"] is None
    assert _options.session_body({"placement": {"node": "a"}})["placement"] == {"node": "a"}
    assert _options.session_body({})["id"] != _options.session_body({})["id"]
    with pytest.raises(TypeError, match="widht"):
        _options.session_body({"widht": 1})  # type: ignore[typeddict-unknown-key]
    with pytest.raises(TypeError, match="width"):
        _options.session_body({"width": 1, "source": {"type": "test"}})


def test_url_and_token_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORIEL_URL", "https://host/oriel")
    monkeypatch.setenv("ORIEL_TOKEN", " secret\n")
    assert _arguments.server_url(None) == "https://host/oriel/"
    assert _arguments.server_token(None) == "secret"
    monkeypatch.delenv("ORIEL_URL")
    assert _arguments.server_url(None) == "http://127.0.0.1:8080/"
    for url in ("host:8080", "ftp://host", "http://", "http://user@host", "http://host/?token=1"):
        with pytest.raises(ValueError, match="URL of the server"):
            _arguments.server_url(url)
    for token in ("a b", "a\nb", "ä"):
        with pytest.raises(ValueError, match="token"):
            _arguments.server_token(token)
    for id in ("", ".", ".."):
        with pytest.raises(ValueError, match="is no id"):
            _arguments.segment(id)
    assert _arguments.segment("a/b?c") == "a%2Fb%3Fc"


def test_pictures_know_their_size_and_differences() -> None:
    from PIL import Image

    def picture(format: str, dots: int) -> Screenshot:
        image, file = Image.new("RGB", (40, 30)), io.BytesIO()
        for x in range(dots):
            image.putpixel((x, 3), (0, 0, 200))
        image.save(file, format)
        return Screenshot(file.getvalue())

    assert picture("PNG", 0).size == picture("JPEG", 0).size == (40, 30)
    assert picture("PNG", 0).image().size == (40, 30)
    assert differing_pixels(picture("PNG", 0), picture("PNG", 7)) == 7
    with pytest.raises(oriel.UnexpectedResponse):
        _ = Screenshot(b"<html>").size


def test_without_pillow_pictures_are_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r"oriel\[pillow\]"):
        Screenshot(b"").image()
