import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO

from models import labelsets
from tests.labeling.exports.judges import judge
from tests.labeling.exports.results import exported, label_maps


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_pycocotools_reads_the_labels_back(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exported(photos, tmp_path / "out", "coco")
    expected = label_maps(tmp_path / "out")
    found = {}
    for part in sorted((tmp_path / "out/exports/coco").glob("*.json")):
        coco = COCO(str(part))
        for image in coco.loadImgs(coco.getImgIds()):
            labels = np.full((image["height"], image["width"]), 255, np.uint8)
            for annotation in coco.loadAnns(coco.getAnnIds([image["id"]])):
                mask = coco.annToMask(annotation).astype(bool)
                assert (labels[mask] == 255).all()
                labels[mask] = annotation["category_id"] - 1
                rows, columns = mask.any(1).nonzero()[0], mask.any(0).nonzero()[0]
                left, top, width, height = annotation["bbox"]
                assert (left, left + width - 1) == (columns[0], columns[-1])
                assert (top, top + height - 1) == (rows[0], rows[-1])
                assert annotation["area"] == mask.sum()
            found[image["file_name"]] = labels
    capsys.readouterr()
    assert list(found) == list(expected)
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


def test_ids_are_unique_over_all_parts(photos: Path, tmp_path: Path) -> None:
    exported(photos, tmp_path / "out", "coco", shard_rows=3)
    documents = [json.loads(part.read_text()) for part in (tmp_path / "out/exports/coco").glob("*.json")]
    assert len(documents) == 3
    for kind in ("images", "annotations"):
        ids = [entry["id"] for document in documents for entry in document[kind]]
        assert len(set(ids)) == len(ids) > 0
    names = [label.name for label in labelsets.load("camvid11").classes]
    assert all([c["name"] for c in document["categories"]] == names for document in documents)


READ_COCO = """
import json, sys
import numpy as np
from datumaro.components.dataset import Dataset
found = {}
for folder in sys.argv[1:]:
    dataset = Dataset.import_from(folder, "coco_instances")
    names = [label.name for label in dataset.categories()[list(dataset.categories())[0]]]
    for item in dataset:
        masks = [a for a in item.annotations if a.type.name == "mask"]
        found[item.id] = {names[a.label]: np.argwhere(a.image).tolist() for a in masks}
print(json.dumps(found))
"""


def test_datumaro_reads_the_labels_back(photos: Path, tmp_path: Path) -> None:
    exported(photos, tmp_path / "out", "coco", shard_rows=8)
    folder = tmp_path / "coco/annotations"
    folder.mkdir(parents=True)
    (folder.parent / "images").mkdir()
    [part] = (tmp_path / "out/exports/coco").glob("*.json")
    (folder / "instances_part.json").write_bytes(part.read_bytes())
    found = judge(READ_COCO, folder.parent)
    expected = label_maps(tmp_path / "out")
    names = [label.name for label in labelsets.load("camvid11").classes]
    assert sorted(found) == sorted(name.removesuffix(".jpg") for name in expected)
    for name, labels in expected.items():
        read = np.full(labels.shape, 255, np.uint8)
        for label, pixels in found[name.removesuffix(".jpg")].items():
            for row, column in pixels:
                read[row, column] = names.index(label)
        assert np.array_equal(read, labels)
