"""The OpenAPI document against the running service: requests made from it, answers held against it."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.config import SchemathesisConfig

from service.app import create_app
from service.errors import IMAGE_ERRORS
from service.settings import Settings
from tests.images.strategies import REAL_FILES, mutated_files
from tests.service.fakes import FakeBackend
from tests.service.gateway import PATIENCE, on_a_socket
from tests.service.problems import problem_of

real_photos = st.sampled_from(list(REAL_FILES.values()))
for media_type in ("image/*", "application/octet-stream"):
    schemathesis.openapi.media_type(media_type, real_photos)

CONFIG: dict[str, Any] = {
    "checks": {
        "positive_data_acceptance": {
            # What the document cannot say: which models there are (404), how large long_side may be here (422), and
            # that a deadline of a few milliseconds is refused (429) or missed (504). A form's photo is any file to
            # the generator, so it may be no image (400) or a PDF (415).
            "expected-statuses": ["2xx", "400", "404", "415", "422", "429", "504"]
        },
    },
}
DOCUMENT = create_app(Settings(model="fake"), FakeBackend()).openapi()
schema = schemathesis.openapi.from_dict(DOCUMENT, config=SchemathesisConfig.from_dict(CONFIG))


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of a gateway in a thread."""
    loop, started, found = asyncio.new_event_loop(), threading.Event(), []
    done = asyncio.Event()

    async def serve() -> None:
        async with on_a_socket(FakeBackend()) as served:
            found.append(str(served.client.base_url))
            started.set()
            await done.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert started.wait(PATIENCE)
    yield found[0]
    loop.call_soon_threadsafe(done.set)
    thread.join(PATIENCE)
    loop.close()


@schema.parametrize()
@settings(max_examples=40, suppress_health_check=list(HealthCheck))
def test_answers_are_as_declared(case: schemathesis.Case[Any], address: str) -> None:
    case.call_and_validate(base_url=address, timeout=PATIENCE)


@pytest.mark.parametrize(
    ("path", "name"), [("/models/{name}", "fake"), ("/models/{name}", "fake@1"), ("/labelsets/{name}", "camvid11")]
)
def test_what_there_is_is_described_as_declared(address: str, path: str, name: str) -> None:
    case = schema[path]["GET"].Case(path_parameters={"name": name})
    assert case.call_and_validate(base_url=address, timeout=PATIENCE).status_code == 200


@pytest.mark.parametrize(
    "query", [{}, {"output": "labels"}, {"output": "overlay"}, {"overlay": "true", "confidence": "true", "alpha": "1"}]
)
def test_photos_are_answered_as_declared(address: str, query: dict[str, str]) -> None:
    for photo in REAL_FILES.values():
        case = schema["/segment"]["POST"].Case(query=query, body=photo, media_type="application/octet-stream")
        assert case.call_and_validate(base_url=address, timeout=PATIENCE).status_code == 200


@settings(max_examples=200)
@given(body=mutated_files())
def test_hostile_files_are_answered_or_refused(address: str, body: bytes) -> None:
    response = httpx.post(f"{address}/segment?output=labels", content=body, timeout=PATIENCE)
    if response.status_code != 200:
        cause = response.json()["type"].rpartition(":")[2]
        problem_of(response, {name: status for status, name in IMAGE_ERRORS.values()}[cause], cause)
