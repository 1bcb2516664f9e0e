"""Photos and results in a bucket whose server throttles, hangs up in mid-body, and takes writes from two at once."""

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import obstore
import pytest
from obstore.store import from_url

from labeling import retrying
from labeling.plan import plan
from labeling.run import finish
from labeling.store import open_store
from tests.labeling.brightness import LABELS
from tests.labeling.drawings import draw
from tests.labeling.jobs import label_all, planned, results, rows
from tests.labeling.s3 import BUCKET, Fault, environment, faulty

PHOTOS = 12


@pytest.fixture
def stored(bucket: str) -> str:
    """A prefix with photos of odd names and one that is no photo."""
    store = from_url(bucket)
    for number in range(PHOTOS):
        obstore.put(store, f"photos/cam {number % 2}/100% #{number}.jpg", draw(number))
    obstore.put(store, "photos/broken.png", b"\x89PNG\r\n\x1a\n and then nothing")
    obstore.put(store, "photos/notes.txt", b"not a photo")
    return bucket


def without_place(found: dict[str, tuple[dict[str, object], bytes | None]]) -> list[tuple[str, object, bytes | None]]:
    return [(name, row["error_code"], png) for name, (row, png) in found.items()]


def attempts(out: str) -> dict[str, int]:
    return {row["image_id"]: row["attempts"] for row in rows(open_store(out))}


@pytest.fixture
def through(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[Fault], AbstractContextManager[None]]:
    """Reach the server through a proxy that makes these faults, while a `with` block runs."""
    monkeypatch.setattr(retrying, "FIRST_DELAY_S", 0.001)

    @contextmanager
    def route(fault: Fault) -> Iterator[None]:
        with faulty(s3_url, fault) as url, monkeypatch.context() as patch:
            for name, value in environment(url).items():
                patch.setenv(name, value)
            yield

    return route


def test_a_prefix_is_a_manifest_and_a_place_for_results(stored: str) -> None:
    job, store = planned(f"{stored}/photos/", f"{stored}/out")
    assert job.rows == PHOTOS + 1
    label_all(job, store)
    found = results(f"{stored}/out")
    assert found["broken.png"][0]["error_code"] == "damaged-image"
    assert found["cam 1/100% #3.jpg"][0]["uri"] == f"{stored}/photos/cam 1/100% #3.jpg"
    assert sum(png is not None for _, png in found.values()) == PHOTOS
    finish(job, store)
    assert store.read("_SUCCESS") == b""
    assert b"data:image/jpeg" in store.read("report.html")


def trouble(share: float, seed: int) -> Fault:
    """That share of the requests is throttled, and as many reads of photos are cut off."""
    draw_of = random.Random(seed)

    def fault(method: str, path: str) -> str | None:
        chance = draw_of.random()
        if chance < share:
            return "slow down"
        return "cut" if chance < 2 * share and method == "GET" and path.endswith(".jpg") else None

    return fault


def test_throttling_and_resets_change_nothing(
    stored: str, through: Callable[[Fault], AbstractContextManager[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    job, store = planned(f"{stored}/photos", f"{stored}/calm")
    label_all(job, store)
    monkeypatch.setattr(retrying, "ATTEMPTS", 20)
    with through(trouble(0.2, seed=1)):
        job, store = planned(f"{stored}/photos", f"{stored}/troubled")
        label_all(job, store)
        finish(job, store)
    assert max(attempts(f"{stored}/troubled").values()) > 1
    assert without_place(results(f"{stored}/troubled")) == without_place(results(f"{stored}/calm"))


def test_a_photo_that_never_arrives_whole_becomes_a_row(
    stored: str, through: Callable[[Fault], AbstractContextManager[None]]
) -> None:
    photo = "cam 1/100% #3.jpg"
    with through(lambda method, path: "cut" if method == "GET" and "%233.jpg" in path else None):
        job, store = planned(f"{stored}/photos", f"{stored}/out")
        label_all(job, store)
    found = results(f"{stored}/out")
    assert (found[photo][0]["status"], found[photo][0]["error_code"]) == ("error", "unreachable")
    assert attempts(f"{stored}/out")[photo] == retrying.ATTEMPTS
    assert sum(png is not None for _, png in found.values()) == PHOTOS - 1


def test_objects_that_are_not_there_and_buckets_that_are_not_ours(stored: str, tmp_path: Path) -> None:
    manifest = tmp_path / "m.csv"
    manifest.write_text(f"image_id,uri\na,s3://{BUCKET}/nothing.jpg\nb,s3://no-such-bucket/b.jpg\nc,gopher://x/c.jpg\n")
    job, store = planned(manifest, f"{stored}/out")
    label_all(job, store)
    assert [row["error_code"] for row in rows(open_store(f"{stored}/out"))] == ["not-found"] * 3


def test_a_manifest_in_the_bucket_names_its_neighbours(stored: str) -> None:
    obstore.put(from_url(stored), "photos/list.csv", b"image_id,uri\none,cam 0/100% #0.jpg\n")
    job = plan(open_store(f"{stored}/out"), f"{stored}/photos/list.csv", LABELS, 10)
    label_all(job, open_store(f"{stored}/out"))
    [row] = rows(open_store(f"{stored}/out"))
    assert (row["uri"], row["status"]) == (f"{stored}/photos/cam 0/100% #0.jpg", "ok")
