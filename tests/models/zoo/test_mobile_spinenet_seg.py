"""The counts are those of prototypes; of the printed ones (Li et al. 2021, Table 9) the wide head comes within 1 %."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from models.engine.batch_norm_folding import fold_batch_norm
from models.zoo.counting import count
from models.zoo.mobile_spinenet_seg import WIDE, MobileSpineNetSeg
from models.zoo.registry import architecture, build
from models.zoo.spinenet_seg import OutputStride

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


@pytest.mark.parametrize("name", NAMES)
def test_a_side_of_the_logits_is_that_of_the_photo_over_8_rounded_up(name: str) -> None:
    with torch.device("meta"):
        network = build(name, 7).eval()
        for height, width in ((1, 1), (1, 500), (2, 3), (37, 53), (65, 33), (511, 513)):
            logits = network(torch.empty(2, 3, height, width))
            assert logits.shape == (2, 7, math.ceil(height / 8), math.ceil(width / 8))


@pytest.mark.parametrize("output_stride", [4, 16])
def test_other_output_strides(output_stride: OutputStride) -> None:
    with torch.device("meta"):
        network = MobileSpineNetSeg(1.0, WIDE, 7, output_stride=output_stride).eval()
        logits = network(torch.empty(1, 3, 37, 53))
    assert network.stride == output_stride
    assert logits.shape == (1, 7, math.ceil(37 / output_stride), math.ceil(53 / output_stride))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 100), (37, 53), (64, 96)])
def test_real_photos_of_any_size_get_finite_logits(network: nn.Module, height: int, width: int) -> None:
    logits = network(photo(height, width))
    assert logits.shape == (1, 11, math.ceil(height / 8), math.ceil(width / 8))
    assert logits.isfinite().all()


def test_the_image_pooling_lets_a_far_corner_reach_the_logits(network: nn.Module) -> None:
    here, there = photo(512, 256), photo(512, 256)
    there[:, :, -1, -1] += 100
    assert not torch.equal(network(here)[:, :, 0, 0], network(there)[:, :, 0, 0])


def test_every_parameter_is_learnt() -> None:
    network = build("mobile-spinenet-s49-minus-wide", 11).train()
    x = torch.randn(2, 3, 48, 64, generator=torch.Generator().manual_seed(0))
    network(x).square().sum().backward()
    unused = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert unused == []


def test_weights_survive_a_state_dict() -> None:
    network, other = (build("mobile-spinenet-s49-minus", 11).eval() for _ in range(2))
    x = photo(37, 53)
    assert not torch.equal(other(x), network(x))
    other.load_state_dict(network.state_dict())
    assert torch.equal(other(x), network(x))


def test_folding_keeps_the_outputs_and_leaves_no_batch_norm(network: nn.Module) -> None:
    folded = fold_batch_norm(copy.deepcopy(network))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    x = photo(64, 96)
    expected = network(x)
    assert (folded(x) - expected).norm() / expected.norm() < 1e-4


def test_bfloat16_is_close_to_float32(network: nn.Module) -> None:
    x = photo(64, 96)
    exact, rounded = network(x), copy.deepcopy(network).bfloat16()(x.bfloat16())
    assert rounded.dtype == torch.bfloat16
    assert (rounded.float() - exact).norm() / exact.norm() < 0.1


def test_torch_export_keeps_the_outputs(network: nn.Module) -> None:
    x = photo(64, 96)
    exported = torch.export.export(network, (x,)).module()
    torch.testing.assert_close(exported(x), network(x))
