# Made of _async/transport.py by tools/generate.py: change that.
"""Requests, their repetition, and errors. One connection pool for each client."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, NoReturn, Optional, TypeVar

import httpx

from .. import _policy
from .._arguments import server_token, server_url
from .._decode import decode
from ..errors import ApiError, ConnectionFailed, NotFound, RequestTimeout, UnexpectedResponse, class_of
from .backend import sleep

T = TypeVar("T")
# The largest response is a picture of 4096 x 4096 pixels.
MAX_RESPONSE = 80 << 20


class Transport:
    """Sends requests to one server."""

    def __init__(self, url: Optional[str], token: Optional[str], timeout: float, retries: int, agent: str) -> None:
        self.url: str = server_url(url)
        self.timeout = timeout
        self._retries = retries
        headers = {"user-agent": agent}
        secret = server_token(token)
        if secret is not None:
            headers["authorization"] = f"Bearer {secret}"
        # Redirections are not followed: the token is for this server.
        self._http = httpx.Client(
            base_url=self.url, headers=headers, timeout=httpx.Timeout(timeout, connect=min(timeout, 10.0))
        )

    def close(self) -> None:
        self._http.close()

    def json(self, kind: type[T], method: str, path: str, **options: Any) -> T:
        """The body of the response, as a class of `models`."""
        response = self.request(method, path, **options)
        try:
            value = response.json()
        except ValueError as error:
            raise UnexpectedResponse(f"the response to {method} {path} is not JSON") from error
        return decode(kind, value)

    def request(
        self,
        method: str,
        path: str,
        *,
        body: Optional[Mapping[str, Any]] = None,
        content: Optional[bytes] = None,
        content_type: Optional[str] = None,
        query: Optional[Mapping[str, Any]] = None,
        headers: Optional[Mapping[str, str]] = None,
        repeatable: Optional[bool] = None,
        timeout: Optional[float] = None,
    ) -> httpx.Response:
        """A response with a status of 2xx, or 304 to a request with `If-None-Match`.

        It is repeated as `_policy` says. By default, what HTTP calls idempotent is repeatable.
        """
        if repeatable is None:
            repeatable = method in ("GET", "PUT", "DELETE", "HEAD")
        request = self._http.build_request(
            method,
            path,
            json=body,
            content=content,
            params=query,
            headers={**(headers or {}), **({"content-type": content_type} if content_type else {})},
            timeout=httpx.USE_CLIENT_DEFAULT if timeout is None else httpx.Timeout(timeout, connect=min(timeout, 10.0)),
        )
        repeated = 0
        was_lost = False
        while True:
            try:
                return self._once(request)
            except (ApiError, ConnectionFailed) as error:
                if isinstance(error, NotFound) and method == "DELETE" and was_lost:
                    # The first one was carried out; only its answer was lost.
                    return httpx.Response(204, request=request)
                pause = _policy.pause(error, repeated=repeated, repeatable=repeatable, retries=self._retries)
                if pause is None:
                    raise
                was_lost = was_lost or (isinstance(error, ConnectionFailed) and error.sent)
            sleep(pause)
            repeated += 1

    def stream(
        self, path: str, *, headers: Optional[Mapping[str, str]] = None, silence: Optional[float] = None
    ) -> httpx.Response:
        """A response whose body is still to be read, and which is to be closed. It fails if nothing comes for `silence` seconds."""
        timeout = httpx.Timeout(silence or self.timeout, connect=min(self.timeout, 10.0))
        request = self._http.build_request("GET", path, headers=headers, timeout=timeout)
        response = self._send(request)
        if not response.is_success:
            try:
                self._read(response)
            finally:
                response.close()
            _refused(response)
        return response

    def chunks(self, response: httpx.Response) -> Iterator[bytes]:
        """The body of such a response."""
        try:
            for chunk in response.iter_bytes():
                yield chunk
        except httpx.TransportError as error:
            _lost(error)

    def _once(self, request: httpx.Request) -> httpx.Response:
        response = self._send(request)
        try:
            self._read(response)
        finally:
            response.close()
        if not response.is_success and response.status_code != httpx.codes.NOT_MODIFIED:
            _refused(response)
        return response

    def _send(self, request: httpx.Request) -> httpx.Response:
        try:
            return self._http.send(request, stream=True)
        except httpx.TransportError as error:
            _lost(error)

    def _read(self, response: httpx.Response) -> None:
        if int(response.headers.get("content-length", "0")) > MAX_RESPONSE:
            raise UnexpectedResponse(f"the response has more than {MAX_RESPONSE} bytes")
        try:
            response.read()
        except httpx.TransportError as error:
            _lost(error)


def _lost(error: httpx.TransportError) -> NoReturn:
    if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)):
        raise ConnectionFailed(f"the server was not reached: {error or type(error).__name__}", sent=False) from error
    if isinstance(error, httpx.TimeoutException):
        raise RequestTimeout(f"the server did not answer in time: {type(error).__name__}") from error
    raise ConnectionFailed(f"the connection to the server broke: {error or type(error).__name__}", sent=True) from error


def _refused(response: httpx.Response) -> NoReturn:
    problem: Any = None
    with suppress(ValueError):
        problem = response.json()
    if not isinstance(problem, dict) or "code" not in problem:
        # A proxy's, most likely. It counts by its status.
        problem = {"code": f"http_{response.status_code}", "detail": f"HTTP {response.status_code} without a problem"}
    retry_after: Optional[float] = None
    with suppress(ValueError):  # It may be a date (RFC 9110, 10.2.3), which this server never sends.
        retry_after = float(response.headers.get("retry-after", ""))
    code = str(problem["code"])
    raise class_of(response.status_code, code)(
        status=response.status_code,
        code=code,
        detail=str(problem.get("detail", "")),
        title=str(problem.get("title", "")),
        field=problem.get("field"),
        request_id=problem.get("request_id"),
        retry_after=retry_after,
    )
