"""A gateway in this process, in front of a backend without a network."""

import os
from collections.abc import AsyncIterator

import pytest

from tests.service.fakes import FakeBackend, FakeDevice
from tests.service.gateway import Gateway, gateway


@pytest.fixture(autouse=True)
def _default_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have settings of their own."""
    for name in os.environ:
        if name.startswith("SEGSERVE_"):
            monkeypatch.delenv(name)


@pytest.fixture
def backend() -> FakeBackend:
    """Serves fake@1 and fake@2."""
    return FakeBackend()


@pytest.fixture
def device(backend: FakeBackend) -> FakeDevice:
    return backend.device


@pytest.fixture
async def served(backend: FakeBackend) -> AsyncIterator[Gateway]:
    """Ready, with the default settings."""
    async with gateway(backend) as running:
        yield running
