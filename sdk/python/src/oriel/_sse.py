"""Server-sent events (WHATWG HTML §9.2.6): lines go in, events come out."""

from __future__ import annotations

from typing import NamedTuple, Optional

from .errors import UnexpectedResponse

# The server's longest event has a few kilobytes: titles of windows are bounded.
MAX_LINE = 1 << 20


class Message(NamedTuple):
    """An event, or only a position (`data` is `None`): all before it has been told."""

    id: Optional[str]
    data: Optional[str]


class Parser:
    """Takes bytes as they come."""

    def __init__(self) -> None:
        self._rest = b""
        self._id: Optional[str] = None
        self._data: list[str] = []

    def push(self, data: bytes) -> list[Message]:
        """The messages that are complete now."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > MAX_LINE:
            raise UnexpectedResponse("a line of the event stream is too long")
        messages = []
        for line in lines:
            message = self._line(line.rstrip(b"\r").decode("utf-8", "replace"))
            if message is not None:
                messages.append(message)
        return messages

    def _line(self, line: str) -> Optional[Message]:
        if line:
            name, _, value = line.partition(":")
            value = value[1:] if value.startswith(" ") else value
            if name == "id" and "\0" not in value:
                self._id = value
            elif name == "data":
                self._data.append(value)
            return None
        message = Message(self._id, "\n".join(self._data) if self._data else None)
        self._data = []
        return message if message.data is not None or message.id is not None else None
