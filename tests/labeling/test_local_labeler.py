"""The engine in this process, as batch jobs host it."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from images import decode, decode_label_map
from labeling.errors import JobError, PhotoError
from labeling.labeler import LabelMap
from labeling.local_labeler import LocalLabeler, labels_of
from models.engine.engine import Engine
from models.engine.loading import find, load_engine
from tests.labeling.drawings import draw
from tests.photos import png


@pytest.fixture
def labeler(checkpoint_dir: Path) -> LocalLabeler:
    return LocalLabeler(labels_of("tiny", checkpoint_dir, None), checkpoint_dir, threads=1)


async def test_photos_get_the_engines_labels(labeler: LocalLabeler, checkpoint_dir: Path) -> None:
    outcomes = await labeler.label([draw(0), b"no photo", draw(1)])
    await labeler.close()
    engine = load_engine(find("tiny", checkpoint_dir))
    for number, outcome in ((0, outcomes[0]), (1, outcomes[2])):
        assert isinstance(outcome, LabelMap)
        photo = decode(draw(number), max_pixels=10**6)
        [expected] = engine.run([photo], confidence=True)
        assert np.array_equal(decode_label_map(outcome.png), expected.labels)
        assert (outcome.height, outcome.width) == photo.shape[:2]
        assert list(outcome.pixels) == expected.pixels.tolist()
        assert expected.confidence is not None
        assert outcome.confidence == pytest.approx(expected.confidence.mean() / 255)
    assert isinstance(outcomes[1], PhotoError)
    assert outcomes[1].code == "not-an-image"


async def test_a_photo_that_is_too_large_is_refused_by_its_header(labeler: LocalLabeler) -> None:
    [outcome] = await labeler.label([png(np.zeros((8, 8), np.uint8))[:16] + (10**5).to_bytes(4) * 2 + bytes(9)])
    assert isinstance(outcome, PhotoError)
    assert outcome.code == "too-many-pixels"


async def test_long_side_reaches_the_engine(checkpoint_dir: Path) -> None:
    labeler = LocalLabeler(labels_of("tiny", checkpoint_dir, 64), checkpoint_dir, threads=1)
    [outcome] = await labeler.label([draw(0)])
    assert isinstance(outcome, LabelMap)
    [coarse] = load_engine(find("tiny", checkpoint_dir)).run([decode(draw(0), max_pixels=10**6)], long_side=64)
    assert np.array_equal(decode_label_map(outcome.png), coarse.labels)


async def test_a_photo_that_the_engine_fails_at_spares_its_batch_mates(
    labeler: LocalLabeler, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Engine.run

    def short_of_memory(self: Engine, photos, **options):  # type: ignore[no-untyped-def]
        if len(photos) > 1 or photos[0].shape[0] == 64:
            raise RuntimeError("out of memory")
        return run(self, photos, **options)

    monkeypatch.setattr(Engine, "run", short_of_memory)
    good, bad, other = await labeler.label([draw(0), draw(1), draw(2)])
    assert isinstance(good, LabelMap)
    assert isinstance(other, LabelMap)
    assert isinstance(bad, PhotoError)
    assert (bad.code, "out of memory" in str(bad)) == ("inference-failed", True)


LOST_GPU = """
import sys
import torch
from labeling import local_labeler
from labeling.shard import Unit
from models.engine.engine import Engine
from pathlib import Path
from tests.labeling.jobs import label_unit, planned

def run(*_, **__):
    raise torch.AcceleratorError("an illegal memory access")

Engine.run = run
photos, out, models = map(Path, sys.argv[1:])
labels = local_labeler.labels_of("tiny", models, None)
job, store = planned(photos, out, labels=labels)
label_unit(job, store, Unit(0), local_labeler.LocalLabeler(labels, models, threads=1))
"""


def test_a_gpu_that_is_lost_ends_the_process_and_fails_no_photo(
    photos: Path, tmp_path: Path, checkpoint_dir: Path
) -> None:
    command = [sys.executable, "-c", LOST_GPU, *map(str, (photos, tmp_path / "out", checkpoint_dir))]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 1
    assert "the GPU is lost, and this worker ends" in ended.stderr
    # The next process tries those that were in flight by halves.
    [record] = (tmp_path / "out/working/part-00000").iterdir()
    assert json.loads(record.read_text())["rows"] == [0, 4]
    assert not (tmp_path / "out/status").exists()


def test_a_model_that_is_not_there_is_told(checkpoint_dir: Path) -> None:
    with pytest.raises(JobError, match="no weights for model 'lane'"):
        labels_of("lane", checkpoint_dir, None)


def test_other_weights_than_the_jobs_are_refused(checkpoint_dir: Path) -> None:
    wanted = replace(labels_of("tiny", checkpoint_dir, None), sha256="0")
    with pytest.raises(JobError, match="are not those that the job began with"):
        LocalLabeler(wanted, checkpoint_dir, threads=1)
