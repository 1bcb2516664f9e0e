"""The counts are those of prototypes that reproduce the figures of the paper (Meng et al. 2022, Tables 3, 4 and 6)."""

import copy

import pytest
import torch
from torch import Tensor, nn

from models.zoo.counting import count
from models.zoo.eseg import ESeg
from models.zoo.layers import SqueezeExcite
from models.zoo.registry import ARCHITECTURES, build

LITE = ("eseg-lite-s", "eseg-lite-m", "eseg-lite-l")

# The prototypes kept three fusion scalars at the last node of a BiFPN repeat, which has two inputs: one less a repeat.
PARAMS = {
    "eseg-lite-s": 3_596_760 - 1,
    "eseg-lite-m": 9_744_942 - 2,
    "eseg-lite-l": 28_402_804 - 3,
    "eseg-s": 6_871_015 - 4,
    "eseg-m": 19_999_314 - 5,
    "eseg-l": 70_480_413 - 6,
}
ENCODER_PARAMS = {
    "eseg-lite-s": 3_480_992,
    "eseg-lite-m": 9_469_016,
    "eseg-lite-l": 27_842_816,
    "eseg-s": 6_101_024,
    "eseg-m": 16_742_216,
    "eseg-l": 62_143_440,
}
GIGA_MACS = {
    "eseg-lite-s": 17.31,
    "eseg-lite-m": 42.88,
    "eseg-lite-l": 115.00,
    "eseg-s": 34.43,
    "eseg-m": 109.10,
    "eseg-l": 334.29,
}


@pytest.fixture(scope="module")
def lite_s() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build("eseg-lite-s", 11).eval().requires_grad_(False)


def photo(height: int, width: int, seed: int = 0) -> Tensor:
    return torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", PARAMS)
def test_params_and_multiply_adds_are_the_papers(name: str) -> None:
    params, macs = count(ARCHITECTURES[name].build, 19, 1024, 2048)
    assert params == PARAMS[name]
    assert macs / 1e9 == pytest.approx(GIGA_MACS[name], rel=1e-3)


@pytest.mark.parametrize("name", ENCODER_PARAMS)
def test_the_encoder_is_an_efficientnet_of_the_right_size(name: str) -> None:
    with torch.device("meta"):
        network = build(name, 19)
    assert isinstance(network, ESeg)
    assert sum(p.numel() for p in network.encoder.parameters()) == ENCODER_PARAMS[name]


@pytest.mark.parametrize("name", PARAMS)
def test_only_lite_networks_use_relu_and_no_squeeze_and_excitation(name: str) -> None:
    with torch.device("meta"):
        kinds = {type(module) for module in build(name, 19).modules()}
    assert (nn.ReLU in kinds, nn.SiLU in kinds, SqueezeExcite in kinds) == (
        name in LITE,
        name not in LITE,
        name not in LITE,
    )


def test_all_levels_reach_the_logits(lite_s: nn.Module) -> None:
    here, there = photo(512, 512), photo(512, 512)
    there[:, :, -1, -1] += 100
    assert not torch.equal(lite_s(here)[:, :, 0, 0], lite_s(there)[:, :, 0, 0])


@pytest.mark.parametrize(("name", "finest"), [("eseg-lite-s", 3), ("eseg-s", 2)])
def test_in_training_levels_from_p5_on_are_left_out_a_photo_and_level_at_a_time(name: str, finest: int) -> None:
    network = build(name, 11)
    assert isinstance(network, ESeg)
    network.level_dropout.p = 0.5
    seen: list[list[Tensor]] = []
    network.bifpn.register_forward_pre_hook(lambda _, levels: seen.append(levels[0]))
    photos = torch.cat([photo(64, 64), photo(64, 64, 1)])
    with torch.no_grad():
        for _ in range(20):
            network.train()(photos)
    left_out = [
        torch.stack([(maps[i].flatten(1) == 0).all(1) for maps in seen]).double() for i in range(len(network.laterals))
    ]
    for level, photos_without in enumerate(left_out, start=finest):
        assert photos_without.mean() == (0 if level < 5 else pytest.approx(0.5, abs=0.25)), level
    assert len({tuple(p.flatten().tolist()) for p in left_out[5 - finest :]}) > 1, "each level for itself"

    with torch.no_grad():
        network.eval()(photos)
    assert not any(bool((level == 0).all()) for level in seen[-1])


def test_channels_are_left_out_in_training_alone(lite_s: nn.Module) -> None:
    network = copy.deepcopy(lite_s)
    assert isinstance(network, ESeg)
    network.channel_dropout.p = 0.5
    before = network(photo(64, 64))
    assert torch.equal(before, lite_s(photo(64, 64)))
    seen: list[Tensor] = []
    network.classifier.register_forward_pre_hook(lambda _, fused: seen.append(fused[0]))
    network.train()(torch.cat([photo(64, 64), photo(64, 64, 1)]))
    absent = (seen[0].flatten(2) == 0).all(2)
    assert 0.25 < absent.double().mean() < 0.75
    assert not torch.equal(absent[0], absent[1])
