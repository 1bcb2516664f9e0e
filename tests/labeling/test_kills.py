"""kill -9 at random moments, again and again: nothing is lost, nothing is done twice, and hardly anything repeated."""

import os
import random
from pathlib import Path

import pytest

from labeling import status
from labeling.store import open_store
from tests.labeling.drawings import draw_folder
from tests.labeling.jobs import files, results
from tests.labeling.processes import finish, kill_at_random, label_process

PHOTOS = int(os.environ.get("BATCH_PHOTOS", "500"))
KILLS = int(os.environ.get("BATCH_KILLS", "5"))
SHARDS = 50 if PHOTOS <= 500 else 200
SHARD_ROWS = -(-PHOTOS // SHARDS)
WORKERS = int(os.environ.get("BATCH_WORKERS", "1"))


def begun(out: Path) -> set[str]:
    """Shards that an attempt died at."""
    done = status.committed(open_store(str(out)))
    units = {path.parent.name for path in (out / "working").glob("*/*")}
    return {name for name in units if int(name.removeprefix("part-")) not in done}


@pytest.mark.timeout(3600 if "BATCH_PHOTOS" in os.environ else 900)
def test_a_job_that_is_killed_again_and_again_ends_like_one_that_was_not(checkpoint_dir: Path, tmp_path: Path) -> None:
    photos = draw_folder(tmp_path / "photos", PHOTOS)
    for number in range(3, PHOTOS, 50):
        (photos / f"{number:05}.jpg").write_bytes(b"not a photo")
    model = ("--model", "tiny", "--model-dir", checkpoint_dir, "--shard-rows", SHARD_ROWS, "--workers", WORKERS)
    undisturbed, killed, log = tmp_path / "undisturbed", tmp_path / "killed", tmp_path / "log"
    finish(log, photos, "--out", undisturbed, *model)

    # Whose reader waits for ever: whoever kills may be late, and nothing is done before it is killed often enough.
    last = photos / f"{PHOTOS - 1:05}.jpg"
    content = last.read_bytes()
    last.unlink()
    os.mkfifo(last)
    draw = random.Random(0)
    for _ in range(KILLS):
        before = len(status.committed(open_store(str(killed))))
        with label_process(log, photos, "--out", killed, *model) as process:
            kill_at_random(process, killed, draw, most_commits=SHARDS // KILLS // 2, last=SHARDS - 1)
        # What was committed stays; what is lost is at most the shard that each worker was at.
        assert len(status.committed(open_store(str(killed)))) >= before
        assert len(begun(killed)) <= WORKERS
        assert not (killed / "_SUCCESS").exists()
    last.unlink()
    last.write_bytes(content)
    finish(log, photos, "--out", killed, *model)

    expected, found = results(undisturbed), results(killed)
    assert list(found) == [f"{number:05}.jpg" for number in range(PHOTOS)]
    assert found == expected
    assert sum(row["status"] == "error" for row, _ in found.values()) == len(range(3, PHOTOS, 50))
    # Nothing is left behind: one tar and one table a shard.
    assert len(files(killed / "labels")) == len(files(killed / "status")) == SHARDS
    assert (killed / "_SUCCESS").exists()
    assert not files(killed / "working")
