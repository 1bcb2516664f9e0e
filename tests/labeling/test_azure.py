"""Photos and results in a container of Azure's; what stores share is in test_store.py."""

import obstore
from obstore.store import from_url

from tests.labeling.drawings import draw
from tests.labeling.jobs import label_all, planned, rows


def test_a_prefix_is_a_manifest_and_a_place_for_results(container: str) -> None:
    store = from_url(container)
    for number in range(3):
        obstore.put(store, f"photos/cam {number}/100% #{number}.jpg", draw(number))
    job, results = planned(f"{container}/photos/", f"{container}/out", shard_rows=2)
    label_all(job, results)
    assert [(row["image_id"], row["status"]) for row in rows(results)] == [
        (f"cam {number}/100% #{number}.jpg", "ok") for number in range(3)
    ]
