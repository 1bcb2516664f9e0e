"""Drawn photos, and servers of S3 and of Azure with a bucket."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.labeling import azure, s3
from tests.labeling.drawings import draw


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of seven good photos of three sizes, in two subfolders, and one that is cut off, which comes first."""
    folder = tmp_path / "photos"
    for number in range(7):
        path = folder / f"cam{number % 2}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(draw(number))
    (folder / "cut.jpg").write_bytes(draw(0)[:300])
    return folder


@pytest.fixture(scope="session")
def s3_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running S3 server."""
    with s3.s3_server(tmp_path_factory.mktemp("s3") / "log") as url:
        yield url


@pytest.fixture
def bucket(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """s3://BUCKET/PREFIX, nothing in it, and the environment to reach it."""
    for name, value in s3.environment(s3_url).items():
        monkeypatch.setenv(name, value)
    return f"s3://{s3.BUCKET}/{secrets.token_hex(4)}"


@pytest.fixture(scope="session")
def azure_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running server of Azure's blobs."""
    with azure.azure_server(tmp_path_factory.mktemp("azure")) as url:
        yield url


@pytest.fixture
def container(azure_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """az://CONTAINER/PREFIX, nothing in it, and the environment to reach it."""
    for name, value in azure.environment(azure_url).items():
        monkeypatch.setenv(name, value)
    return f"az://{azure.CONTAINER}/{secrets.token_hex(4)}"


@pytest.fixture(params=["disk", "bucket", "container"])
def anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A URI for results: a folder, and a prefix of each kind of bucket that there is a server for."""
    if request.param == "disk":
        return str(tmp_path / "out")
    uri: str = request.getfixturevalue(request.param)
    return uri
