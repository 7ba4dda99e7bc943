# Made of _async/files.py by tools/generate.py: change that.
"""Files in the home of a session."""

from __future__ import annotations

import builtins
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional, Union
from urllib.parse import quote

import httpx

from .. import models
from .._arguments import segment
from .._decode import decode
from ..errors import ApiError

if TYPE_CHECKING:
    from .client import Client

# What is sent in one request, bytes: what has to be sent again when a connection breaks.
PART = 16 << 20
BYTES = "application/octet-stream"


class Files:
    """Files in the home of a session. Paths are below it: `Downloads/report.pdf`."""

    def __init__(self, client: Client, id: str) -> None:
        self._transport = client._transport
        self._path = f"api/streamers/{segment(id)}/files/"

    def list(self, path: str = "") -> builtins.list[models.FileEntry]:
        """What is in a directory, in the order of names."""
        entries: builtins.list[models.FileEntry] = []
        query: dict[str, Any] = {"limit": 1000}
        while True:
            page = self._transport.json(models.FileList, "GET", self._at(path), query=query)
            entries.extend(page.entries)
            if page.next is None:
                return entries
            query["after"] = page.next

    def read(self, path: str) -> bytes:
        """The content of a file of at most 80 MB; `download` is for larger ones."""
        return (self._transport.request("GET", self._at(path))).content

    def download(self, path: str, into: Union[str, os.PathLike[str]], *, archive: bool = False) -> None:
        """Copies a file from the session; with `archive`, a directory as a ZIP file. What breaks off leaves no file."""
        target = Path(into)
        beside = target.with_name(f".{target.name}.part")
        response = self._transport.stream(self._at(path) + ("?archive=zip" if archive else ""))
        try:
            with beside.open("wb") as file:
                for chunk in self._transport.chunks(response):
                    file.write(chunk)
            beside.replace(target)
        finally:
            response.close()
            beside.unlink(missing_ok=True)

    def write(self, path: str, content: bytes) -> models.FileEntry:
        """Makes or replaces a file."""
        return self._transport.json(models.FileEntry, "PUT", self._at(path), content=content, content_type=BYTES)

    def upload(self, file: Union[str, os.PathLike[str]], path: Optional[str] = None) -> models.FileEntry:
        """Copies a file into the session, by its name if there is no path. A large one goes in parts, and on from where it broke off."""
        source = Path(file)
        at = self._at(path or source.name)
        with source.open("rb") as opened:
            total = os.fstat(opened.fileno()).st_size
            if total <= PART:
                return self.write(path or source.name, opened.read())
            answer = self._part(at, f"bytes */{total}", b"")
            while answer.status_code == 202:
                offset = decode(models.FileUpload, answer.json()).received
                opened.seek(offset)
                content = opened.read(PART)
                try:
                    answer = self._part(at, f"bytes {offset}-{offset + len(content) - 1}/{total}", content)
                except ApiError as error:
                    # It was repeated, and had arrived the first time.
                    if error.code != "wrong_offset":
                        raise
                    answer = self._part(at, f"bytes */{total}", b"")
            return decode(models.FileEntry, answer.json())

    def make_directory(self, path: str) -> models.FileEntry:
        """Makes a directory; it may be there already."""
        return self._transport.json(models.FileEntry, "PUT", self._at(f"{path.rstrip('/')}/"))

    def remove(self, path: str, *, recursive: bool = False) -> None:
        """Removes a file or an empty directory; with `recursive`, a directory with all that is in it."""
        query = {"recursive": "true"} if recursive else None
        self._transport.request("DELETE", self._at(path), query=query)

    def _part(self, at: str, part: str, content: bytes) -> httpx.Response:
        return self._transport.request(
            "PUT", at, content=content, content_type=BYTES, headers={"content-range": part}
        )

    def _at(self, path: str) -> str:
        # The server refuses dots; httpx would resolve them before it could.
        if any(name in (".", "..") for name in path.split("/")):
            raise ValueError(f"{path!r} leads elsewhere")
        return self._path + quote(path.lstrip("/"), safe="/")
