import pytest
import torch

from models.zoo.registry import ARCHITECTURES, UnknownArchitectureError, architecture, build

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
