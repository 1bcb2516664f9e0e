import json
from pathlib import Path

import numpy as np
from PIL import Image

from labeling.names import file_name
from models import labelsets
from tests.labeling.exports.judges import judge
from tests.labeling.exports.results import exported, label_maps

READ_PANOPTIC = """
import json, sys
import numpy as np
from pathlib import Path
from datumaro.components.dataset import Dataset
found = {}
for folder in sys.argv[1:]:
    dataset = Dataset.import_from(folder, "coco_panoptic")
    names = [label.name for label in dataset.categories()[list(dataset.categories())[0]]]
    for item in dataset:
        found[item.id] = {names[a.label]: np.argwhere(a.image).tolist() for a in item.annotations}
print(json.dumps(found))
"""


def test_segments_describe_the_pixels(photos: Path, tmp_path: Path) -> None:
    exported(photos, tmp_path / "out", "coco-panoptic")
    expected = label_maps(tmp_path / "out")
    seen = []
    for part in sorted((tmp_path / "out/exports/coco-panoptic").glob("*.json")):
        document = json.loads(part.read_text())
        for image, annotation in zip(document["images"], document["annotations"], strict=True):
            assert image["id"] == annotation["image_id"]
            with Image.open(part.with_suffix("") / annotation["file_name"]) as picture:
                colours = np.array(picture).astype(int)
            ids = colours[..., 0] + 256 * colours[..., 1] + 65536 * colours[..., 2]
            assert np.array_equal(ids - 1, expected[image["file_name"]])
            for segment in annotation["segments_info"]:
                mask = ids == segment["id"]
                rows, columns = mask.any(1).nonzero()[0], mask.any(0).nonzero()[0]
                left, top, width, height = segment["bbox"]
                assert (left, left + width - 1, top, top + height - 1) == (
                    columns[0],
                    columns[-1],
                    rows[0],
                    rows[-1],
                )
                assert segment["area"] == mask.sum()
            assert {segment["id"] for segment in annotation["segments_info"]} == set(np.unique(ids))
            seen.append(image["file_name"])
    assert seen == list(expected)


def test_datumaro_reads_the_labels_back(photos: Path, tmp_path: Path) -> None:
    exported(photos, tmp_path / "out", "coco-panoptic")
    # Its importer wants COCO's own layout.
    folders = []
    for part in sorted((tmp_path / "out/exports/coco-panoptic").glob("*.json")):
        folder = tmp_path / part.stem
        (folder / "annotations").mkdir(parents=True)
        (folder / "images").mkdir()
        (folder / f"annotations/panoptic_{part.stem}.json").write_bytes(part.read_bytes())
        (folder / f"annotations/panoptic_{part.stem}").symlink_to(part.with_suffix(""))
        folders.append(folder)
    found = judge(READ_PANOPTIC, *folders)
    expected = label_maps(tmp_path / "out")
    names = [label.name for label in labelsets.load("camvid11").classes]
    assert sorted(found) == sorted(file_name(name).removesuffix(".jpg") for name in expected)
    for name, labels in expected.items():
        read = np.full(labels.shape, 255, np.uint8)
        for label, pixels in found[name.removesuffix(".jpg")].items():
            for row, column in pixels:
                read[row, column] = names.index(label)
        assert np.array_equal(read, labels)
