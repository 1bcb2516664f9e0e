"""What holds for the networks of every family; what is a family's own stands in a file of its own."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.engine.batch_norm_folding import fold_batch_norm
from models.engine.engine import Engine
from models.engine.network import EagerNetwork
from models.weights.card import Card, Preprocessing
from models.weights.checkpoint import Checkpoint, CheckpointError, save
from models.zoo.options import OutputStride
from models.zoo.registry import ARCHITECTURES
from tests.models.zoo.small_networks import SMALL, build_trained
from tests.photos import street

CLASSES = 11
PREPROCESSING = Preprocessing(long_side=96)
# One of each network class, of ESeg both kinds: an export takes seconds.
EXPORTED = ("eseg-lite", "eseg", "spinenet", "mobile-spinenet-wide", "deeplabv3", "deeplabv3plus")


@pytest.fixture(scope="module", params=SMALL)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def network(name: str) -> nn.Module:
    return build_trained(name, CLASSES)


@pytest.fixture(scope="module")
def checkpoint(name: str, network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    card = Card(
        name=name,
        version=1,
        architecture=name,
        label_set="camvid11",
        num_classes=CLASSES,
        input_size=(64, 96),
        preprocessing=PREPROCESSING,
        licence="Free for tests",
        data="Nothing: random weights",
    )
    path = tmp_path_factory.mktemp("checkpoints") / f"{name}@1.safetensors"
    save(network, card, path)
    return Checkpoint.open(path)


def without_weights(name: str, num_classes: int = CLASSES) -> nn.Module:
    with torch.device("meta"):
        return SMALL[name].build(num_classes).eval()


def noise(batch: int, height: int, width: int) -> Tensor:
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(0))


def on_engine(network: nn.Module, dtype: torch.dtype) -> EagerNetwork:
    return EagerNetwork(copy.deepcopy(network), PREPROCESSING, device=torch.device("cpu"), dtype=dtype)


def undecided(network: nn.Module) -> nn.Module:
    """A copy whose logits have mean 0 and deviation 1 on a photo: every class is the likeliest somewhere.

    The labels then depend on all that the network computes; one label everywhere would agree with anything.
    """
    copied = copy.deepcopy(network)
    *_, classifier = (module for module in copied.modules() if isinstance(module, nn.Conv2d))
    assert classifier.bias is not None
    logits = on_engine(network, torch.float32)(torch.from_numpy(street(64, 64))[None])
    std, mean = torch.std_mean(logits, (0, 2, 3))
    classifier.weight /= std[:, None, None, None]
    classifier.bias.sub_(mean).div_(std)
    return copied


def difference(found: Tensor, expected: Tensor) -> float:
    return float((found.float() - expected).norm() / expected.norm())


def test_every_family_is_here() -> None:
    assert {small.family for small in SMALL.values()} == {each.family for each in ARCHITECTURES.values()}


def test_a_side_of_the_logits_is_that_of_the_photo_over_the_stride_rounded_up(name: str, network: nn.Module) -> None:
    stride = SMALL[name].stride
    assert network.stride == stride
    # From the least to more than the stride of ESeg's coarsest level, 512.
    for height, width in ((1, 1), (1, 513), (511, 1), (2, 3), (37, 53), (65, 33)):
        logits = network(noise(2, height, width))
        assert logits.shape == (2, CLASSES, math.ceil(height / stride), math.ceil(width / stride))
        assert logits.isfinite().all()


@pytest.mark.parametrize("name", ["spinenet", "mobile-spinenet"])
@pytest.mark.parametrize("output_stride", [4, 8, 16])
def test_an_output_stride_can_be_chosen(name: str, output_stride: OutputStride) -> None:
    with torch.device("meta"):
        network = SMALL[name].build(CLASSES, output_stride=output_stride).eval()
        assert network.stride == output_stride
        for height, width in ((1, 1), (37, 53), (65, 33)):
            logits = network(torch.empty(1, 3, height, width))
            assert logits.shape[2:] == (math.ceil(height / output_stride), math.ceil(width / output_stride))


def test_photos_of_mixed_sizes_get_the_labels_that_each_gets_alone(network: nn.Module) -> None:
    engine = Engine(on_engine(undecided(network), torch.float32), PREPROCESSING)
    # The first two share a batch, and are as different as can be.
    photos = [street(48, 64), 255 - street(33, 50), street(200, 37), street(1, 1)]
    together = engine.run(photos)
    for photo, segmentation in zip(photos, together, strict=True):
        assert segmentation.labels.shape == photo.shape[:2]
        [alone] = engine.run([photo])
        assert np.mean(alone.labels == segmentation.labels) > 0.999
    assert len(np.unique(together[0].labels)) > 3


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 0.05)])
@torch.inference_mode()
def test_the_engine_computes_what_the_network_does(network: nn.Module, dtype: torch.dtype, tolerance: float) -> None:
    photos = torch.randint(256, (2, 64, 96, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    mean, std = torch.tensor(PREPROCESSING.mean), torch.tensor(PREPROCESSING.std)
    expected = network(((photos / 255 - mean) / std).permute(0, 3, 1, 2))
    logits = on_engine(network, dtype)(photos)
    assert logits.dtype == dtype
    assert difference(logits, expected) < tolerance


def test_every_batch_norm_folds_into_a_convolution(name: str) -> None:
    network = without_weights(name)
    assert any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fold_batch_norm(network).modules())


@pytest.mark.parametrize("name", EXPORTED, indirect=True)
def test_torch_export_keeps_the_logits(network: nn.Module) -> None:
    photos = noise(2, 37, 53)
    exported = torch.export.export(network, (photos,)).module()
    torch.testing.assert_close(exported(photos), network(photos))


def test_every_parameter_is_learnt(network: nn.Module) -> None:
    learning = copy.deepcopy(network).requires_grad_().train()
    learning(noise(2, 48, 64)).square().sum().backward()
    unused = [name for name, p in learning.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert unused == []


@torch.no_grad()
def test_a_state_dict_holds_all_that_the_logits_depend_on(name: str, network: nn.Module) -> None:
    other = without_weights(name)
    other.load_state_dict(network.state_dict(), assign=True)
    assert torch.equal(other(noise(2, 37, 53)), network(noise(2, 37, 53)))


@torch.no_grad()
def test_a_checkpoint_holds_kernels_in_half_precision_and_the_rest_as_it_is(
    name: str, network: nn.Module, checkpoint: Checkpoint
) -> None:
    other = without_weights(name)
    checkpoint.load_into(other)
    loaded = other.state_dict()
    for key, tensor in network.state_dict().items():
        assert torch.equal(loaded[key], tensor.half().float() if tensor.dim() > 1 else tensor), key
    assert difference(other(noise(2, 37, 53)), network(noise(2, 37, 53))) < 0.01


def test_a_checkpoint_that_does_not_fit_is_refused_and_says_where(name: str, checkpoint: Checkpoint) -> None:
    other = without_weights(name, num_classes=19)
    convolutions = [name for name, module in other.named_modules() if isinstance(module, nn.Conv2d)]
    first, classifier = convolutions[0], convolutions[-1]
    shape = tuple(other.get_parameter(f"{classifier}.weight").shape)
    other.set_submodule(first, nn.Identity())
    other.register_parameter("added", nn.Parameter(torch.empty(1, device="meta")))
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load_into(other)
    assert str(caught.value) == (
        f"{checkpoint.path} does not fit {name} with 11 classes: 1 missing (added); 1 unexpected ({first}.weight); "
        f"2 of another shape ({classifier}.bias is (11,), not (19,), "
        f"{classifier}.weight is {(CLASSES, *shape[1:])}, not {shape})"
    )
    assert all(tensor.is_meta for tensor in other.state_dict().values())
