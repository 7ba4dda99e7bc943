"""Live fragmented MP4, cut where a file may end: after its header, and after each fragment (ISO/IEC 14496-12, 4.2 and 8.8)."""

from __future__ import annotations

from .errors import UnexpectedResponse

# A fragment has a second of a stream at most; 100 Mbit/s of it are 12.5 MB.
MAX_BOX = 64 << 20
# Boxes after which a player can go on with what follows.
_ENDS = (b"moov", b"mdat")


class Pieces:
    """Bytes as they come go in; complete pieces come out."""

    def __init__(self) -> None:
        self._data = bytearray()
        # Length of the boxes that are complete, but end no piece yet.
        self._complete = 0

    def push(self, data: bytes) -> list[bytes]:
        """Takes the next bytes, and gives the pieces that are complete now."""
        self._data += data
        pieces = []
        while len(self._data) >= self._complete + 8:
            size = int.from_bytes(self._data[self._complete : self._complete + 4], "big")
            kind = bytes(self._data[self._complete + 4 : self._complete + 8])
            if not 8 <= size <= MAX_BOX:
                raise UnexpectedResponse(f"the MP4 has a box of {size} bytes")
            if len(self._data) < self._complete + size:
                break
            self._complete += size
            if kind in _ENDS:
                pieces.append(bytes(self._data[: self._complete]))
                del self._data[: self._complete]
                self._complete = 0
        return pieces
