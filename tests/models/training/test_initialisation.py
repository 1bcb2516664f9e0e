from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from models.training.initialisation import initialise, origin
from models.weights.checkpoint import CheckpointError
from models.zoo.eseg import ESeg
from models.zoo.registry import build


def eseg(classes: int, seed: int = 0) -> ESeg:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = build("eseg-lite-s", classes)
    assert isinstance(network, ESeg)
    return network


def kernels(network: ESeg) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in network.named_parameters() if p.dim() > 1}


@pytest.mark.parametrize("prefix", ["", "encoder.", "backbone.", "model.", "module.backbone."])
def test_an_encoder_alone_fills_the_encoder(prefix: str, tmp_path: Path) -> None:
    given, network = eseg(11, seed=1), eseg(19)
    encoder = {prefix + name: tensor.half() for name, tensor in given.encoder.state_dict().items()}
    save_file(encoder, tmp_path / "encoder.safetensors")
    before = kernels(network)
    taken = sum(tensor.dim() > 0 for tensor in encoder.values())
    wanted = sum(tensor.dim() > 0 for tensor in network.state_dict().values())

    log = initialise(network, tmp_path / "encoder.safetensors")

    assert log.startswith(f"took {taken} of the model's {wanted} tensors from {tmp_path / 'encoder.safetensors'}")
    assert f"not taken: {wanted - taken} missing (bifpn." in log
    for name, tensor in kernels(network).items():
        expected = given.get_parameter(name).half().float() if name.startswith("encoder.") else before[name]
        assert torch.equal(tensor, expected), name


def test_the_classifier_of_another_label_set_is_left_out_and_named(tmp_path: Path) -> None:
    given, network = eseg(19, seed=1), eseg(11)
    save_file(given.state_dict() | {"spare": torch.zeros(3)}, tmp_path / "a.safetensors")
    before = kernels(network)
    log = initialise(network, tmp_path / "a.safetensors")
    for name, tensor in kernels(network).items():
        expected = before[name] if name.startswith("classifier.") else given.get_parameter(name)
        assert torch.equal(tensor, expected), name
    assert log.endswith(
        "not taken: 1 unexpected (spare); 2 of another shape (classifier.bias is (19,), not (11,), "
        "classifier.weight is (19, 64, 3, 3), not (11, 64, 3, 3))"
    )


def test_everything_taken_is_said_so(tmp_path: Path) -> None:
    save_file(eseg(11, seed=1).state_dict(), tmp_path / "a.safetensors")
    assert initialise(eseg(11), tmp_path / "a.safetensors").endswith("; not taken: none")


def test_what_must_be_whole_and_is_not_is_refused(tmp_path: Path) -> None:
    path, network = tmp_path / "a.safetensors", eseg(11)
    given = eseg(11, seed=1).state_dict()
    save_file(given | {"spare": torch.zeros(3)}, path)
    assert "1 unexpected" in initialise(network, path, whole=True)
    save_file({name: tensor for name, tensor in given.items() if name != "classifier.bias"}, path)
    before = kernels(network)
    with pytest.raises(CheckpointError, match=r"does not fill this model.* 1 missing \(classifier\.bias\)"):
        initialise(network, path, whole=True)
    assert all(torch.equal(tensor, before[name]) for name, tensor in kernels(network).items())


def test_a_whole_model_may_be_wrapped(tmp_path: Path) -> None:
    given, network = eseg(11, seed=1), eseg(11)
    save_file({f"module.{name}": t for name, t in given.state_dict().items()}, tmp_path / "a.safetensors")
    assert initialise(network, tmp_path / "a.safetensors").endswith("; not taken: none")
    assert all(torch.equal(tensor, given.get_parameter(name)) for name, tensor in kernels(network).items())


@pytest.mark.parametrize("prefix", ["backbone.", "model.encoder."])
def test_of_two_encoders_the_one_of_our_name_is_taken(prefix: str, tmp_path: Path) -> None:
    given, network = eseg(11, seed=1), eseg(11)
    second = {prefix + name: torch.zeros_like(tensor) for name, tensor in given.encoder.state_dict().items()}
    save_file(second | given.state_dict(), tmp_path / "a.safetensors")
    log = initialise(network, tmp_path / "a.safetensors")
    assert f" unexpected ({prefix}" in log
    assert all(torch.equal(tensor, given.get_parameter(name)) for name, tensor in kernels(network).items())


def test_weights_of_which_nothing_fits_are_refused_and_change_nothing(tmp_path: Path) -> None:
    network = eseg(11)
    before = kernels(network)
    # A bias fits by its name and width, but that is chance.
    strange = {"classifier.weight": torch.zeros(11, 5, 1, 1), "classifier.bias": torch.zeros(11)}
    save_file(strange, tmp_path / "strange.safetensors")
    with pytest.raises(CheckpointError, match=r"nothing in .*strange\.safetensors fits this model: no kernel"):
        initialise(network, tmp_path / "strange.safetensors")
    assert all(torch.equal(tensor, before[name]) for name, tensor in kernels(network).items())


@pytest.mark.parametrize("content", [None, b"", b"These are not weights."])
def test_what_is_no_safetensors_file_is_refused_by_name(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"a\.safetensors cannot be read as safetensors"):
        initialise(eseg(11), path)


def test_a_card_says_where_weights_began(checkpoint_dir: Path, tmp_path: Path) -> None:
    tiny = checkpoint_dir / "tiny@1.safetensors"
    assert origin(tiny) == "started from tiny@1 (Nothing: random weights; licence: Free for tests)"
    save_file({"weight": torch.zeros(1)}, tmp_path / "imagenet.safetensors")
    assert origin(tmp_path / "imagenet.safetensors") == "started from imagenet.safetensors"
