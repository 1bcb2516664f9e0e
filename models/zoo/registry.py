"""Every architecture by name, with what its paper prints."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from torch import nn

from models.zoo import eseg, spinenet_seg
from models.zoo.deeplab import DeepLabV3, DeepLabV3Plus
from models.zoo.eseg import ESeg
from models.zoo.mobile_spinenet_seg import AS_WRITTEN, WIDE, WIDTHS, MobileSpineNetSeg
from models.zoo.options import Options
from models.zoo.resnet import DEPTHS
from models.zoo.spinenet_seg import SpineNetSeg


@dataclass(frozen=True, slots=True)
class Paper:
    """The configuration that a paper counts, and its printed figures (None where it prints none).

    params: learnable numbers. macs: multiply-adds at `at` (height, width), batch 1, up to the logits.
    """

    at: tuple[int, int]
    num_classes: int
    params: int | None
    macs: int | None


@dataclass(frozen=True, slots=True)
class Architecture:
    """A network that can be built for any number of classes."""

    name: str
    family: str
    build: Callable[..., nn.Module]
    """From the number of classes, and Options by name."""
    paper: Paper


def _cityscapes(params: int | None, macs: int | None) -> Paper:
    return Paper((1024, 2048), 19, params, macs)


def _voc(params: int | None, macs: int | None) -> Paper:
    return Paper((512, 512), 21, params, macs)


# Meng et al. 2022: params and multiply-adds of S, M, L from Table 4, of Lite-S from Table 6.
_ESEG = {
    "lite-s": _cityscapes(None, 17_000_000_000),
    "lite-m": _cityscapes(None, None),
    "lite-l": _cityscapes(None, None),
    "s": _cityscapes(6_900_000, 34_500_000_000),
    "m": _cityscapes(20_000_000, 112_000_000_000),
    "l": _cityscapes(70_500_000, 343_000_000_000),
}
# The rest is Rashwan et al. 2021. Table 3; Table 6 prints S49 to S143 on Cityscapes too, with four rates in their ASPP.
_SPINENET = {
    "s49": _voc(69_000_000, 98_000_000_000),
    "s96": _voc(116_000_000, 154_000_000_000),
    "s143": _voc(162_000_000, 210_000_000_000),
}
# Table 6 alone has S143+.
_SPINENET_S143_PLUS = _cityscapes(275_000_000, 2_766_000_000_000)
# Table 9.
_MOBILE_SPINENET = {"s49": _cityscapes(4_400_000, None), "s49-minus": _cityscapes(3_150_000, None)}
# Table 3.
_DEEPLABV3 = {
    "r50": _voc(74_000_000, 115_000_000_000),
    "r101": _voc(93_000_000, 193_000_000_000),
    "r152": _voc(109_000_000, 271_000_000_000),
}
# Table 3; ResNet-S50 from Table 1.
_DEEPLABV3PLUS = {
    "r50": _voc(75_000_000, 117_000_000_000),
    "r101": _voc(94_000_000, 195_000_000_000),
    "r152": _voc(110_000_000, 273_000_000_000),
    "rs50": _voc(None, 85_000_000_000),
}


def _architectures() -> Iterator[Architecture]:
    for size, paper in _ESEG.items():
        yield Architecture(f"eseg-{size}", "eseg", partial(ESeg, eseg.SIZES[size]), paper)
    for size, paper in _SPINENET.items():
        yield Architecture(f"spinenet-{size}", "spinenet", partial(SpineNetSeg, spinenet_seg.SIZES[size]), paper)
    s143_plus = partial(SpineNetSeg, spinenet_seg.SIZES["s143-plus"], aspp_rates=spinenet_seg.CITYSCAPES_RATES)
    yield Architecture("spinenet-s143-plus", "spinenet", s143_plus, _SPINENET_S143_PLUS)
    for suffix, head in (("", AS_WRITTEN), ("-wide", WIDE)):
        for size, paper in _MOBILE_SPINENET.items():
            mobile = partial(MobileSpineNetSeg, WIDTHS[size], head)
            yield Architecture(f"mobile-spinenet-{size}{suffix}", "mobile-spinenet", mobile, paper)
    for size, paper in _DEEPLABV3.items():
        yield Architecture(f"deeplabv3-{size}", "deeplabv3", partial(DeepLabV3, DEPTHS[size]), paper)
    for size, paper in _DEEPLABV3PLUS.items():
        yield Architecture(f"deeplabv3plus-{size}", "deeplabv3plus", partial(DeepLabV3Plus, DEPTHS[size]), paper)


ARCHITECTURES = {architecture.name: architecture for architecture in _architectures()}


class UnknownArchitectureError(LookupError):
    """No architecture of that name, or none with such options; the message lists those there are."""


def architecture(name: str) -> Architecture:
    """Raises UnknownArchitectureError."""
    if name not in ARCHITECTURES:
        raise UnknownArchitectureError(f"no architecture '{name}'; there are: {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[name]


def build(name: str, num_classes: int, options: Options | None = None) -> nn.Module:
    """A new network with random weights. Raises UnknownArchitectureError."""
    chosen, given = architecture(name), options.given() if options else {}
    taken = [option for option in Options.model_fields if option in inspect.signature(chosen.build).parameters]
    if strange := given.keys() - taken:
        raise UnknownArchitectureError(
            f"{name} has no option {', '.join(sorted(strange))}; it has {', '.join(taken) or 'none'}"
        )
    return chosen.build(num_classes, **given)
