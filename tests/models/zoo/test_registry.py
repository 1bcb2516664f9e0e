import os

import pytest
import torch

from models.zoo.options import Options
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


# All with `make prove-compilation`; a small network of each family, and its values, in test_every_network.py.
EXPORTED = os.environ.get("COMPILED", "eseg-lite-s").split()


@pytest.mark.parametrize("name", EXPORTED)
def test_architectures_can_be_exported(name: str) -> None:
    # Without values: the largest would take a gigabyte, and export looks at shapes alone.
    with torch.device("meta"), torch.no_grad():
        network, photo = build(name, 5).eval(), torch.empty(1, 3, 64, 96)
        exported = torch.export.export(network, (photo,)).module()
        assert exported(photo).shape == network(photo).shape


def test_options_change_what_the_paper_varies() -> None:
    with torch.device("meta"):
        four_rates = build("spinenet-s49", 19, Options(aspp_rates=(12, 24, 36, 72)))
        fine = build("spinenet-s49", 19, Options(output_stride=4))
        dense = build("deeplabv3plus-r50", 19, Options(decoder="dense"))
        plain = build("deeplabv3plus-r50", 19, Options())
    # The count of Tables 3 and 6's reading, with four rates and 19 classes.
    assert sum(p.numel() for p in four_rates.parameters()) == 70_975_699
    assert fine.stride == 4
    assert sum(p.numel() for p in dense.parameters()) > sum(p.numel() for p in plain.parameters())


def test_an_option_that_an_architecture_does_not_have_is_answered_with_those_it_has() -> None:
    with pytest.raises(
        UnknownArchitectureError, match="spinenet-s49 has no option decoder; it has output_stride, aspp_rates"
    ):
        build("spinenet-s49", 19, Options(decoder="dense", output_stride=4))
