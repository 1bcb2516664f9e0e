"""Names that public ImageNet checkpoints give their tensors, as our networks call the same tensors.

EfficientNet as in timm (models/efficientnet.py, _efficientnet_blocks.py) is the encoder of an ESeg, and the ResNets of
bottlenecks, named alike in torchvision (models/resnet.py) and timm, are the backbones of DeepLab as far as their last
stage; the two that repeat it have no public counterpart.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

# Wrappers, and what networks call their part that was trained on ImageNet.
_PREFIXES = re.compile(r"^(?:(?:module|model|backbone|encoder)\.)+")

_SEPARABLE = {
    "conv_dw": "0.0",
    "bn1": "0.1",
    "se.conv_reduce": "1.gate.0",
    "se.conv_expand": "1.gate.2",
    "conv_pw": "2.0",
    "bn2": "2.1",
}
_INVERTED = {
    "conv_pw": "0.0",
    "bn1": "0.1",
    "conv_dw": "1.0",
    "bn2": "1.1",
    "se.conv_reduce": "2.gate.0",
    "se.conv_expand": "2.gate.2",
    "conv_pwl": "3.0",
    "bn3": "3.1",
}
_BOTTLENECK = {
    "conv1": "layers.0.0",
    "bn1": "layers.0.1",
    "conv2": "layers.1.0",
    "bn2": "layers.1.1",
    "conv3": "layers.2.0",
    "bn3": "layers.2.1",
    "downsample.0": "shortcut.0",
    "downsample.1": "shortcut.1",
}


@dataclass(frozen=True, slots=True)
class _Layout:
    """How a public family names its tensors.

    mark: one that both the file and, as renamed, the network must have, lest norms of equal width fit by chance.
    rules: a pattern of what stands before a layer's name, what stands there in ours, and our names of the layers.
    """

    mark: str
    rules: tuple[tuple[str, str, Mapping[str, str]], ...]

    def rename(self, name: str) -> str:
        """Our name; `name` itself where no rule knows it."""
        for theirs, ours, layers in self.rules:
            if match := re.match(theirs, name):
                layer, _, tensor = name[match.end() :].rpartition(".")
                if layer in layers:
                    return f"{match.expand(ours)}{layers[layer]}.{tensor}"
        return name


_LAYOUTS = (
    _Layout(
        # The Lite sizes, whose blocks are fused, have no squeeze-and-excitation.
        mark="blocks.0.0.se.conv_reduce.weight",
        rules=(
            ("", "", {"conv_stem": "stem.0", "bn1": "stem.1"}),
            # Stage 1 alone does not expand: timm's DepthwiseSeparableConv, then InvertedResidual.
            (r"blocks\.0\.(\d+)\.", r"stages.0.\1.layers.", _SEPARABLE),
            (r"blocks\.([1-6])\.(\d+)\.", r"stages.\1.\2.layers.", _INVERTED),
        ),
    ),
    _Layout(
        # ResNet-18 and -34, which have no bottlenecks, do not project there.
        mark="layer1.0.downsample.0.weight",
        rules=(
            ("", "", {"conv1": "stem.0.0", "bn1": "stem.0.1"}),
            *((rf"layer{n}\.(\d+)\.", rf"stages.{n - 1}.\1.", _BOTTLENECK) for n in range(1, 5)),
        ),
    ),
)


def our_names(given: Iterable[str], wanted: Collection[str]) -> dict[str, str]:
    """The names `given` in a file, each by the name that its tensor has in a network of tensors called `wanted`.

    Prefixes do not count. What the network does not have keeps its name, and so does a second tensor of one name.
    """
    ours = {_bare(name): name for name in wanted}
    # A tensor of exactly our name goes before one that would get it.
    theirs = sorted(given, key=lambda name: name not in wanted)
    bare = {_bare(name) for name in theirs}
    layout = next((each for each in _LAYOUTS if each.mark in bare and each.rename(each.mark) in ours), None)
    names: dict[str, str] = {}
    for name in theirs:
        target = ours.get(layout.rename(_bare(name)) if layout else _bare(name), name)
        names[name if target in names else target] = name
    return names


def _bare(name: str) -> str:
    return _PREFIXES.sub("", name)
