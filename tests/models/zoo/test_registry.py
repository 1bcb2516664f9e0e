import math
import os
from pathlib import Path

import pytest
import torch

from models.engine.engine import Engine
from models.engine.network import EagerNetwork
from models.weights.card import Card, Preprocessing
from models.weights.checkpoint import Checkpoint, save
from models.zoo.registry import ARCHITECTURES, UnknownArchitectureError, architecture, build
from tests.photos import street

NAMES = """
eseg-lite-s eseg-lite-m eseg-lite-l eseg-s eseg-m eseg-l
spinenet-s49 spinenet-s96 spinenet-s143 spinenet-s143-plus
mobile-spinenet-s49 mobile-spinenet-s49-minus mobile-spinenet-s49-wide mobile-spinenet-s49-minus-wide
deeplabv3-r50 deeplabv3-r101 deeplabv3-r152
deeplabv3plus-r50 deeplabv3plus-r101 deeplabv3plus-r152 deeplabv3plus-rs50
"""


def test_every_architecture_builds_under_its_name() -> None:
    assert list(ARCHITECTURES) == NAMES.split()
    for name in ARCHITECTURES:
        assert architecture(name).name == name
        with torch.device("meta"):
            assert build(name, 5).eval()(torch.empty(2, 3, 64, 64)).shape[1] == 5


def test_papers_figures_are_the_printed_ones() -> None:
    paper = architecture("eseg-m").paper
    assert (paper.at, paper.num_classes, paper.params, paper.macs) == ((1024, 2048), 19, 20_000_000, 112_000_000_000)


def test_an_unknown_name_is_answered_with_those_there_are() -> None:
    with pytest.raises(
        UnknownArchitectureError, match="no architecture 'eseg-xl'; there are: eseg-lite-s, eseg-lite-m"
    ):
        build("eseg-xl", 19)


# One of each family; all with `make prove-compilation`.
EXPORTED = os.environ.get(
    "COMPILED", "eseg-lite-s eseg-m spinenet-s49 mobile-spinenet-s49 deeplabv3-r50 deeplabv3plus-rs50"
).split()


@pytest.mark.parametrize("name", EXPORTED)
def test_architectures_can_be_exported(name: str) -> None:
    # Without values: the largest would take a gigabyte, and export looks at shapes alone.
    with torch.device("meta"), torch.no_grad():
        network, photo = build(name, 5).eval(), torch.empty(1, 3, 64, 96)
        exported = torch.export.export(network, (photo,)).module()
        assert exported(photo).shape == network(photo).shape


@pytest.mark.parametrize(
    "name",
    [
        "eseg-lite-s",
        "eseg-s",
        "mobile-spinenet-s49",
        "mobile-spinenet-s49-minus",
        "mobile-spinenet-s49-wide",
        "mobile-spinenet-s49-minus-wide",
    ],
)
def test_small_architectures_survive_a_checkpoint_in_half_precision(name: str, tmp_path: Path) -> None:
    network = build(name, 11).eval()
    card = Card(
        name=name,
        version=1,
        architecture=name,
        label_set="camvid11",
        num_classes=11,
        input_size=(64, 96),
        preprocessing=Preprocessing(long_side=96),
        licence="Free for tests",
        data="Nothing: random weights",
    )
    save(network, card, tmp_path / "a.safetensors")
    with torch.device("meta"):
        copy = build(name, 11).eval()
    Checkpoint.open(tmp_path / "a.safetensors").load_into(copy)
    for key, tensor in network.state_dict().items():
        expected = tensor.half().float() if tensor.dim() > 1 else tensor
        assert torch.equal(copy.state_dict()[key], expected), key
    photo = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        exact, rounded = network(photo), copy(photo)
    assert (rounded - exact).norm() / exact.norm() < 0.01


@pytest.mark.parametrize(
    "name", ["eseg-lite-s", "spinenet-s49", "mobile-spinenet-s49-minus", "deeplabv3-r50", "deeplabv3plus-r50"]
)
def test_each_family_labels_photos_of_mixed_sizes(name: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build(name, 5)
    preprocessing = Preprocessing(long_side=96)
    engine = Engine(
        EagerNetwork(network, preprocessing, device=torch.device("cpu"), dtype=torch.float32), preprocessing
    )
    photos = [street(*size) for size in ((48, 64), (33, 50), (64, 64), (200, 37), (1, 1))]
    together = engine.run(photos, confidence=True)
    for photo, segmentation in zip(photos, together, strict=True):
        assert segmentation.labels.shape == photo.shape[:2]
        assert segmentation.pixels.sum() == math.prod(photo.shape[:2])
        [alone] = engine.run([photo])
        assert (alone.labels == segmentation.labels).mean() > 0.99
