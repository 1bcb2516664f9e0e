import pytest
import torch
from torch import nn

from models.zoo.layers import (
    ASPP,
    Conv3x3,
    ConvNorm,
    SqueezeExcite,
    average_pool,
    bare_separable3x3,
    batch_norm,
    conv3x3,
    halve,
    init_weights,
    max_pool,
    separable3x3,
    upsample,
)


def test_conv_norm_with_and_without_activation() -> None:
    x = torch.randn(2, 4, 9, 7)
    with_relu, without = ConvNorm(4, 6, 3, stride=2, activation=nn.ReLU), ConvNorm(4, 6, activation=None)
    assert with_relu(x).shape == (2, 6, 5, 4)
    assert with_relu(x).min() == 0
    assert without(x).min() < 0


def test_batch_norm_has_efficientnets_constants() -> None:
    norm = batch_norm(3)
    assert (norm.eps, norm.momentum) == (1e-3, 0.01)


@pytest.mark.parametrize(("side", "halved"), [(1, 1), (2, 1), (3, 2), (4, 2), (7, 4)])
def test_halving_rounds_up(side: int, halved: int) -> None:
    for pool in (average_pool, max_pool):
        assert halve(torch.zeros(1, 2, side, side), pool).shape == (1, 2, halved, halved)


def test_padding_does_not_dilute_the_average() -> None:
    assert torch.equal(halve(torch.ones(1, 1, 5, 5), average_pool), torch.ones(1, 1, 3, 3))


def test_max_pool_takes_the_largest() -> None:
    x = torch.arange(9.0).view(1, 1, 3, 3)
    assert halve(x, max_pool).flatten().tolist() == [4, 5, 7, 8]


def test_upsampling_nearest_and_bilinear() -> None:
    x = torch.tensor([[[[0.0, 4.0]]]])
    assert upsample(x, 2, (1, 4), "nearest")[0, 0, 0].tolist() == [0, 0, 4, 4]
    assert upsample(x, 2, (1, 4), "bilinear")[0, 0, 0].tolist() == [0, 1, 3, 4]
    assert torch.equal(upsample(x, 1, (1, 2), "bilinear"), x)


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_what_a_cell_says_stays_in_its_place_whatever_the_size(mode: str) -> None:
    x = torch.randn(1, 2, 3, 5, generator=torch.Generator().manual_seed(0))
    whole = upsample(x, 4, (12, 20), mode)
    cut = upsample(x, 4, (9, 18), mode)
    assert torch.equal(cut, whole[..., :9, :18])


def test_squeeze_excite_scales_whole_channels() -> None:
    gate = SqueezeExcite(4, 2, nn.ReLU)
    x = torch.rand(2, 4, 5, 6) + 0.5
    ratio = gate(x) / x
    assert torch.allclose(ratio, ratio.mean((2, 3), keepdim=True).expand_as(x))
    assert 0 < ratio.min() < ratio.max() < 1


def test_init_weights_keeps_the_variance_and_zeroes_biases() -> None:
    conv = nn.Conv2d(64, 128, 3)
    init_weights(nn.Sequential(conv))
    assert conv.weight.std().item() == pytest.approx((2 / (128 * 9)) ** 0.5, rel=0.05)
    assert conv.bias is not None
    assert not conv.bias.any()


@pytest.mark.parametrize("conv", [conv3x3, separable3x3, bare_separable3x3])
def test_a_dilated_convolution_keeps_the_size_and_sees_as_far_as_its_rate(conv: Conv3x3) -> None:
    layer = conv(2, 3, 4).eval()
    x = torch.zeros(1, 2, 11, 11)
    dot = x.clone()
    dot[:, :, 5, 5] = 1e3
    with torch.no_grad():
        y, quiet = layer(dot), layer(x)
    assert y.shape == (1, 3, 11, 11)
    changed = (y != quiet).any(1)[0].nonzero().tolist()
    assert changed
    assert all(row in (1, 5, 9) and column in (1, 5, 9) for row, column in changed)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (7, 10)])
def test_aspp_pools_any_size_and_sees_all_of_it(height: int, width: int) -> None:
    aspp = ASPP(4, 6, (12, 24)).eval()
    x = torch.rand(2, 4, height, width)
    x_elsewhere = x.clone()
    x_elsewhere[:, :, -1, -1] += 10
    with torch.no_grad():
        assert aspp(x).shape == (2, 6, height, width)
        assert not torch.equal(aspp(x)[:, :, 0, 0], aspp(x_elsewhere)[:, :, 0, 0])
