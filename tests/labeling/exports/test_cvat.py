"""Against Datumaro, which CVAT's importers are made of."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from labeling.exports.cvat import labelmap
from models import labelsets
from tests.labeling.drawings import draw
from tests.labeling.exports.judges import judge
from tests.labeling.exports.results import exported, label_maps

READ_VOC = """
import json, sys
import numpy as np
from datumaro.components.dataset import Dataset
found = {}
for folder in sys.argv[1:]:
    dataset = Dataset.import_from(folder, "voc_segmentation")
    names = [label.name for label in dataset.categories()[list(dataset.categories())[0]]]
    for item in dataset:
        labels = {}
        for annotation in item.annotations:
            labels[names[annotation.label]] = np.argwhere(annotation.image).tolist()
        found[item.id] = labels
print(json.dumps(found))
"""


def test_datumaro_reads_the_zips_back(photos: Path, tmp_path: Path) -> None:
    exported(photos, tmp_path / "out", "cvat")
    folders = []
    for archive in sorted((tmp_path / "out/exports/cvat").glob("*.zip")):
        folders.append(tmp_path / archive.stem)
        zipfile.ZipFile(archive).extractall(folders[-1])
    found = judge(READ_VOC, *folders)
    expected = label_maps(tmp_path / "out")
    assert list(found) == [name.removesuffix(".jpg") for name in expected]
    classes = labelsets.load("camvid11").classes
    for name, labels in expected.items():
        read = np.full(labels.shape, 255, np.uint8)
        for label in classes:
            for row, column in found[name.removesuffix(".jpg")].get(label.name, []):
                read[row, column] = label.id
        assert np.array_equal(read, labels)


def test_photos_that_differ_in_their_extension_alone_stay_apart(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(draw(0))
    (folder / "a.jpeg").write_bytes(draw(1))
    exported(folder, tmp_path / "out", "cvat")
    with zipfile.ZipFile(tmp_path / "out/exports/cvat/part-00000.zip") as archive:
        assert archive.read("ImageSets/Segmentation/default.txt") == b"a\na.jpg\n"
        assert {"SegmentationClass/a.png", "SegmentationClass/a.jpg.png"} <= set(archive.namelist())


@pytest.mark.parametrize("name", labelsets.names())
def test_every_set_names_its_classes_and_one_of_them_is_black(name: str) -> None:
    label_set = labelsets.load(name)
    lines = [line.split(":") for line in labelmap(label_set).splitlines() if not line.startswith("#")]
    assert [line[0] for line in lines][: len(label_set.classes)] == [label.name for label in label_set.classes]
    assert [line[1] for line in lines].count("0,0,0") == 1
    assert len({line[1] for line in lines}) == len(lines)
