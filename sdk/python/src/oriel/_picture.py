"""Pictures as the API gives them: the bytes of a PNG or JPEG file, with its size at hand."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional, Union

from .errors import UnexpectedResponse

if TYPE_CHECKING:
    import os

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8"


class Screenshot(bytes):
    """The bytes of a PNG (or JPEG) file.

    Unless it was scaled down, positions in it are those that `click()` and the like take.
    """

    etag: Optional[str] = None
    """What pictures of the same form that look the same have in common; `None` from a server that does not say it."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, pixels."""
        return _png_size(self) if self.startswith(_PNG) else _jpeg_size(self)

    @property
    def width(self) -> int:
        """Pixels."""
        return self.size[0]

    @property
    def height(self) -> int:
        """Pixels."""
        return self.size[1]

    def save(self, path: Union[str, os.PathLike[str]]) -> None:
        """Writes the file."""
        Path(path).write_bytes(self)

    def image(self) -> Any:
        """The picture as a `PIL.Image.Image`; needs Pillow (`pip install oriel[pillow]`)."""
        return decoded(self)

    def _repr_png_(self) -> Union[bytes, None]:
        return bytes(self) if self.startswith(_PNG) else None


def decoded(picture: bytes) -> Any:
    """The picture as an RGB image of Pillow."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("pictures are decoded by Pillow: pip install oriel[pillow]") from error
    return Image.open(io.BytesIO(picture)).convert("RGB")


def differing_pixels(one: bytes, other: bytes) -> int:
    """How many pixels differ; all of them where the sizes do. Needs Pillow."""
    from_, to = decoded(one), decoded(other)
    if from_.size != to.size:
        return int(to.size[0] * to.size[1])
    from PIL import ImageChops

    red, green, blue = ImageChops.difference(from_, to).split()
    largest = ImageChops.lighter(ImageChops.lighter(red, green), blue)
    return int(to.size[0] * to.size[1]) - int(largest.histogram()[0])


def _png_size(data: bytes) -> tuple[int, int]:
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


def _jpeg_size(data: bytes) -> tuple[int, int]:
    # Segments up to the frame header (ITU-T T.81, B.2.2): SOF0 to SOF15, but for tables (C4, C8, CC).
    at = 2
    while data.startswith(_JPEG) and at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return int.from_bytes(data[at + 7 : at + 9], "big"), int.from_bytes(data[at + 5 : at + 7], "big")
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    raise UnexpectedResponse("the picture is neither a PNG nor a JPEG")
