"""The counts are those of prototypes; the wide head comes within 1 % of the printed ones (Rashwan et al. 2021,
Table 9)."""

import pytest
import torch
from torch import Tensor, nn

from models.zoo.counting import count
from models.zoo.registry import architecture, build

NAMES = (
    "mobile-spinenet-s49",
    "mobile-spinenet-s49-minus",
    "mobile-spinenet-s49-wide",
    "mobile-spinenet-s49-minus-wide",
)


@pytest.fixture(scope="module", params=["mobile-spinenet-s49-minus", "mobile-spinenet-s49-minus-wide"])
def network(request: pytest.FixtureRequest) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build(request.param, 11).eval().requires_grad_(False)


def photo(height: int, width: int) -> Tensor:
    return torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("name", "params", "giga_macs"),
    [
        ("mobile-spinenet-s49", 2_648_635, 41.19),
        ("mobile-spinenet-s49-minus", 1_382_528, 25.51),
        ("mobile-spinenet-s49-wide", 4_438_075, 99.24),
        ("mobile-spinenet-s49-minus-wide", 3_150_464, 82.98),
    ],
)
def test_counts_on_cityscapes(name: str, params: int, giga_macs: float) -> None:
    counted, macs = count(architecture(name).build, 19, 1024, 2048)
    assert counted == params
    assert macs / 1e9 == pytest.approx(giga_macs, rel=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_the_wide_head_alone_has_about_the_printed_params(name: str) -> None:
    params, _ = count(architecture(name).build, 19, 1024, 2048)
    assert (params == pytest.approx(architecture(name).paper.params, rel=0.01)) == name.endswith("-wide")


def test_the_image_pooling_lets_a_far_corner_reach_the_logits(network: nn.Module) -> None:
    here, there = photo(512, 256), photo(512, 256)
    there[:, :, -1, -1] += 100
    assert not torch.equal(network(here)[:, :, 0, 0], network(there)[:, :, 0, 0])
