from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from models.training.initialisation import initialise
from models.training.public_names import our_names
from models.weights.checkpoint import CheckpointError
from models.zoo.registry import build

Shapes = dict[str, tuple[int, ...]]

# The stem's channels; kernel, channels and blocks of each stage (Tan & Le 2019, Table 1, scaled).
EFFICIENTNETS = {
    "b1": (32, [(3, 16, 2), (3, 24, 3), (5, 40, 3), (3, 80, 4), (5, 112, 4), (5, 192, 5), (3, 320, 2)]),
    "b4": (48, [(3, 24, 2), (3, 32, 4), (5, 56, 4), (3, 112, 6), (5, 160, 6), (5, 272, 8), (3, 448, 2)]),
    "b7": (64, [(3, 32, 4), (3, 48, 7), (5, 80, 7), (3, 160, 10), (5, 224, 10), (5, 384, 13), (3, 640, 4)]),
}
# Bottlenecks of layer1..4 (He et al. 2016, Table 1).
RESNETS = {"50": (3, 4, 6, 3), "101": (3, 4, 23, 3), "152": (3, 8, 36, 3)}


def norm(name: str, channels: int) -> Shapes:
    return {f"{name}.{tensor}": (channels,) for tensor in ("weight", "bias", "running_mean", "running_var")}


def biased(name: str, outputs: int, inputs: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs, 1, 1), f"{name}.bias": (outputs,)}


def efficientnet(size: str) -> Shapes:
    """What timm's EfficientNet calls its tensors, in the order in which a photo meets them, without conv_head."""
    channels, stages = EFFICIENTNETS[size]
    named = {"conv_stem.weight": (channels, 3, 3, 3)} | norm("bn1", channels)
    for stage, (kernel, outputs, blocks) in enumerate(stages):
        for index in range(blocks):
            block, hidden, expands = f"blocks.{stage}.{index}", channels * (6 if stage else 1), stage > 0
            if expands:
                named |= {f"{block}.conv_pw.weight": (hidden, channels, 1, 1)} | norm(f"{block}.bn1", hidden)
            named |= {f"{block}.conv_dw.weight": (hidden, 1, kernel, kernel)}
            named |= norm(f"{block}.{'bn2' if expands else 'bn1'}", hidden)
            named |= biased(f"{block}.se.conv_reduce", channels // 4, hidden)
            named |= biased(f"{block}.se.conv_expand", hidden, channels // 4)
            named |= {f"{block}.{'conv_pwl' if expands else 'conv_pw'}.weight": (outputs, hidden, 1, 1)}
            named |= norm(f"{block}.{'bn3' if expands else 'bn2'}", outputs)
            channels = outputs
    return named


def resnet(size: str) -> Shapes:
    """What torchvision's and timm's ResNets call their tensors, in the same order, without fc."""
    named = {"conv1.weight": (64, 3, 7, 7)} | norm("bn1", 64)
    channels = 64
    for layer, blocks in enumerate(RESNETS[size], start=1):
        inner = 32 << layer
        for index in range(blocks):
            block = f"layer{layer}.{index}"
            named |= {f"{block}.conv1.weight": (inner, channels, 1, 1)} | norm(f"{block}.bn1", inner)
            named |= {f"{block}.conv2.weight": (inner, inner, 3, 3)} | norm(f"{block}.bn2", inner)
            named |= {f"{block}.conv3.weight": (4 * inner, inner, 1, 1)} | norm(f"{block}.bn3", 4 * inner)
            if index == 0:
                named |= {f"{block}.downsample.0.weight": (4 * inner, channels, 1, 1)}
                named |= norm(f"{block}.downsample.1", 4 * inner)
            channels = 4 * inner
    return named


def resnet34() -> Iterator[str]:
    yield from ("conv1.weight", *norm("bn1", 64))
    for layer, blocks in enumerate((3, 4, 6, 3), start=1):
        for index in range(blocks):
            for number in (1, 2):
                yield from (f"layer{layer}.{index}.conv{number}.weight", *norm(f"layer{layer}.{index}.bn{number}", 1))


def tensors(network: nn.Module) -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items() if tensor.dim() > 0}


def shapes(architecture: str) -> Shapes:
    with torch.device("meta"):
        return tensors(build(architecture, 19))


def write(named: Shapes, path: Path) -> None:
    """Each tensor is filled with its place."""
    save_file({name: torch.full(shape, float(place)) for place, (name, shape) in enumerate(named.items())}, path)


@pytest.mark.parametrize("prefix", ["", "backbone.", "model.encoder."])
@pytest.mark.parametrize(("architecture", "size"), [("eseg-s", "b1"), ("eseg-m", "b4"), ("eseg-l", "b7")])
def test_an_efficientnet_is_the_encoder_of_an_eseg(architecture: str, size: str, prefix: str) -> None:
    wanted, given = shapes(architecture), {prefix + name: shape for name, shape in efficientnet(size).items()}
    names = our_names([prefix + "conv_head.weight", *reversed(given)], wanted)
    encoder = [name for name in wanted if name.startswith("encoder.")]
    # Both are in the order in which a photo meets them.
    assert [names.pop(name) for name in encoder] == list(given)
    assert [wanted[name] for name in encoder] == list(given.values())
    assert names == {prefix + "conv_head.weight": prefix + "conv_head.weight"}


@pytest.mark.parametrize(
    ("architecture", "size"),
    [("deeplabv3-r50", "50"), ("deeplabv3-r101", "101"), ("deeplabv3plus-r152", "152"), ("deeplabv3plus-rs50", "50")],
)
def test_a_resnet_is_a_backbone_up_to_its_last_stage(architecture: str, size: str) -> None:
    wanted, given = shapes(architecture), resnet(size)
    names = our_names(["fc.weight", *reversed(given)], wanted)
    repeated = ("backbone.stages.4.", "backbone.stages.5.")
    backbone = [name for name in wanted if name.startswith("backbone.") and not name.startswith(repeated)]
    assert [names.pop(name) for name in backbone] == list(given)
    assert [wanted[name] for name in backbone] == list(given.values())
    assert names == {"fc.weight": "fc.weight"}


def test_all_of_an_efficientnet_is_taken_and_its_classifier_is_not(tmp_path: Path) -> None:
    given, network = efficientnet("b1"), build("eseg-s", 19)
    rest = {"conv_head.weight": (1280, 320, 1, 1), **norm("bn2", 1280), "classifier.weight": (1000, 1280)}
    write(given | rest, tmp_path / "b1.safetensors")

    log = initialise(network, tmp_path / "b1.safetensors")

    assert log.startswith(f"took {len(given)} of the model's {len(tensors(network))} tensors from ")
    assert "5 unexpected (bn2.bias, bn2.running_mean, bn2.running_var, bn2.weight, conv_head.weight)" in log
    assert "1 of another shape (classifier.weight is (1000, 1280), not (19, 96, 3, 3))" in log
    encoder = [t for name, t in network.state_dict().items() if name.startswith("encoder.") and t.dim() > 0]
    assert len(encoder) == len(given)
    for place, tensor in enumerate(encoder):
        assert torch.all(tensor == place), list(given)[place]
    places = {name: float(place) for place, name in enumerate(given)}
    for ours, theirs in {
        "encoder.stages.0.1.layers.1.gate.0.weight": "blocks.0.1.se.conv_reduce.weight",
        "encoder.stages.0.1.layers.2.1.running_var": "blocks.0.1.bn2.running_var",
        "encoder.stages.4.3.layers.1.1.running_mean": "blocks.4.3.bn2.running_mean",
        "encoder.stages.4.3.layers.2.gate.2.bias": "blocks.4.3.se.conv_expand.bias",
        "encoder.stages.6.0.layers.3.1.weight": "blocks.6.0.bn3.weight",
    }.items():
        assert torch.all(network.state_dict()[ours] == places[theirs]), ours


def test_a_lite_encoder_has_blocks_of_its_own(tmp_path: Path) -> None:
    write(efficientnet("b1"), tmp_path / "b1.safetensors")
    with pytest.raises(CheckpointError, match="no kernel has the name and shape"):
        initialise(build("eseg-lite-l", 19), tmp_path / "b1.safetensors")


def test_a_resnet_without_bottlenecks_is_no_backbone() -> None:
    wanted = shapes("deeplabv3-r50")
    assert not our_names(resnet34(), wanted).keys() & wanted.keys()
