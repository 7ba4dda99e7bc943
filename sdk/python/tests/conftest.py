"""The server that the tests use is started by scripts/python-sdk, which sets `ORIEL_URL` and `ORIEL_TOKEN`."""

from __future__ import annotations

import asyncio
import functools
import inspect
from typing import TYPE_CHECKING, Any

import pytest

import oriel

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> None:
    """Runs `async def` tests, with a limit of their time."""
    if inspect.iscoroutinefunction(pyfuncitem.obj):
        test = pyfuncitem.obj

        @functools.wraps(test)
        def run(**arguments: Any) -> None:
            asyncio.run(asyncio.wait_for(test(**arguments), 60))

        pyfuncitem.obj = run


@pytest.fixture(scope="module")
def client() -> Iterator[oriel.Client]:
    with oriel.Client() as client:
        yield client
        assert client.streamers.list() == [], "a test left a session behind"
