import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models import labelsets
from models.engine.engine import Engine
from models.engine.network import EagerNetwork
from models.training.dataset import DataError, SegmentationFolder
from models.training.evaluation import confusion_matrix, evaluate, scores
from models.weights.card import Preprocessing
from tests.models.colour_network import ColourNetwork

CAMVID = labelsets.load("camvid11")
NO_HITS = np.zeros((2, 256), np.int64)


def test_the_confusion_matrix_counts_pairs_and_leaves_out_ignored_pixels() -> None:
    labels = np.array([[0, 0, 1], [1, 2, 255]], np.uint8)
    predicted = np.array([[0, 1, 1], [1, 0, 2]], np.uint8)
    assert confusion_matrix(labels, predicted, 3).tolist() == [[1, 1, 0], [0, 2, 0], [1, 0, 0]]


def test_many_classes_do_not_overflow() -> None:
    labels = np.full((4, 4), 149, np.uint8)
    assert confusion_matrix(labels, labels, 150)[149, 149] == 16


def test_scores_by_hand() -> None:
    confusion = np.zeros((11, 11), np.int64)
    confusion[:3, :3] = [[1, 1, 0], [0, 2, 0], [1, 0, 0]]
    hits = np.zeros((2, 256), np.int64)
    hits[:, 255] = [2, 3]
    result = scores(confusion, hits, CAMVID, images=7)
    assert result.per_class == pytest.approx({"sky": 1 / 3, "building": 2 / 3, "pole": 0})
    assert result.miou == pytest.approx(1 / 3)
    assert result.pixel_accuracy == pytest.approx(3 / 5)
    assert result.ece == pytest.approx(2 / 5)
    assert result.images == 7


def test_a_class_that_was_only_predicted_counts_as_missed() -> None:
    confusion = np.zeros((11, 11), np.int64)
    confusion[0, :2] = [3, 1]
    assert scores(confusion, NO_HITS, CAMVID, 1).per_class == pytest.approx({"sky": 0.75, "building": 0})


def test_nothing_labelled_scores_nothing() -> None:
    result = scores(np.zeros((11, 11), np.int64), NO_HITS, CAMVID, 0)
    assert (result.miou, result.pixel_accuracy, result.ece, result.per_class) == (0, 0, 0, {})


@pytest.fixture
def preprocessing() -> Preprocessing:
    return Preprocessing(long_side=64)


def test_a_network_that_is_always_right_scores_one(dataset_dir: Path, preprocessing: Preprocessing) -> None:
    engine = Engine(EagerNetwork(ColourNetwork(preprocessing), preprocessing, dtype=torch.float32), preprocessing)
    result = evaluate(engine, SegmentationFolder(dataset_dir, "val", CAMVID))
    assert (result.miou, result.pixel_accuracy, result.images) == (1, 1, 2)
    assert result.per_class == {"sky": 1, "building": 1, "road": 1, "car": 1}


def test_calibration_is_that_of_the_confidence_map(dataset_dir: Path, preprocessing: Preprocessing) -> None:
    engine = Engine(EagerNetwork(ColourNetwork(preprocessing), preprocessing, dtype=torch.float32), preprocessing)
    dataset = SegmentationFolder(dataset_dir, "val", CAMVID)
    # It is never wrong, so all that it lacks in confidence is error.
    lacking = []
    for photo, labels in dataset:
        [segmentation] = engine.run([photo], confidence=True)
        assert segmentation.confidence is not None
        lacking.append(1 - segmentation.confidence[labels != 255] / 255)
    assert evaluate(engine, dataset).ece == pytest.approx(np.concatenate(lacking).mean())


def test_a_network_that_takes_cars_for_roads_scores_what_it_should(
    dataset_dir: Path, preprocessing: Preprocessing
) -> None:
    network = ColourNetwork(preprocessing)
    assert network.classifier.bias is not None
    network.classifier.weight.data[8] = network.classifier.weight.data[3]
    network.classifier.bias.data[8] = network.classifier.bias.data[3] - 1
    dataset = SegmentationFolder(dataset_dir, "val", CAMVID)
    result = evaluate(Engine(EagerNetwork(network, preprocessing, dtype=torch.float32), preprocessing), dataset)
    assert result.per_class["car"] == 0
    cars = np.mean([(labels == 8)[:46].mean() for _, labels in dataset])
    assert result.pixel_accuracy <= 1 - cars + 1e-9
    assert result.miou < 0.75


def test_a_split_without_labels_is_an_error_and_no_score(
    dataset_dir: Path, preprocessing: Preprocessing, tmp_path: Path
) -> None:
    data = shutil.copytree(dataset_dir, tmp_path / "data")
    for path in (data / "val/labels").iterdir():
        Image.fromarray(np.full_like(np.array(Image.open(path)), 255)).save(path)
    engine = Engine(EagerNetwork(ColourNetwork(preprocessing), preprocessing, dtype=torch.float32), preprocessing)
    with pytest.raises(DataError, match=f"no pixel of {data / 'val/labels'} is labelled"):
        evaluate(engine, SegmentationFolder(data, "val", CAMVID))


def test_progress_sees_every_photo(dataset_dir: Path, preprocessing: Preprocessing) -> None:
    seen: list[int] = []

    def progress(indices: Iterable[int]) -> Iterator[int]:
        for index in indices:
            seen.append(index)
            yield index

    engine = Engine(EagerNetwork(ColourNetwork(preprocessing), preprocessing, dtype=torch.float32), preprocessing)
    evaluate(engine, SegmentationFolder(dataset_dir, "val", CAMVID), progress)
    assert seen == [0, 1]
