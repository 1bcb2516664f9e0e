import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from models.weights.card import Card
from models.weights.checkpoint import Checkpoint, CheckpointError, mismatches, save
from models.weights.library import find
from models.zoo.registry import build


@pytest.fixture
def card(checkpoint_dir: Path) -> Card:
    return find("tiny", checkpoint_dir).card


def small_network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 11, 1))


def test_weights_and_card_survive(card: Card, tmp_path: Path) -> None:
    network = small_network()
    save(network, card, tmp_path / "new" / "a.safetensors")
    checkpoint = Checkpoint.open(tmp_path / "new" / "a.safetensors")
    assert checkpoint.card == card
    with torch.device("meta"):
        copy = small_network()
    checkpoint.load_into(copy)
    for name, wanted in network.state_dict().items():
        found = copy.state_dict()[name]
        assert found.dtype == wanted.dtype
        assert found.device.type == "cpu"
        if wanted.dim() > 1:
            assert torch.equal(found, wanted.half().float()), name
        else:
            assert torch.equal(found, wanted), name


def test_kernels_take_two_bytes_a_number(checkpoint_dir: Path) -> None:
    path = find("tiny", checkpoint_dir).path
    params = sum(p.numel() for p in build("eseg-lite-s", 11).parameters())
    assert 2 * params < path.stat().st_size < 2.1 * params


def test_a_failed_save_leaves_the_old_file(card: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.safetensors"
    save(small_network(), card, path)
    before = path.read_bytes()

    def full_disk(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:100])
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(OSError, match="no space"):
        save(small_network(), card, path)
    assert path.read_bytes() == before


def test_sha256_is_the_files(checkpoint_dir: Path) -> None:
    checkpoint = find("tiny", checkpoint_dir)
    assert checkpoint.sha256 == hashlib.sha256(checkpoint.path.read_bytes()).hexdigest()


def text(path: Path, _card: Card) -> None:
    path.write_text("These are not weights.")


def empty(path: Path, _card: Card) -> None:
    path.write_bytes(b"")


def missing(path: Path, _card: Card) -> None:
    assert not path.exists()


def folder(path: Path, _card: Card) -> None:
    path.mkdir()


def truncated(path: Path, card: Card) -> None:
    save(small_network(), card, path)
    path.write_bytes(path.read_bytes()[:-10])


def without_card(path: Path, _card: Card) -> None:
    save_file(small_network().state_dict(), path)


def card_is_no_json(path: Path, _card: Card) -> None:
    save_file(small_network().state_dict(), path, metadata={"segserve": "?"})


def card_lacks_a_field(path: Path, card: Card) -> None:
    rest = json.dumps(card.model_dump(exclude={"licence"}, mode="json"))
    save_file(small_network().state_dict(), path, metadata={"segserve": rest})


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (text, "cannot be read as safetensors"),
        (empty, "cannot be read as safetensors"),
        (missing, "cannot be read as safetensors"),
        (folder, "cannot be read as safetensors"),
        (truncated, "cannot be read as safetensors"),
        (without_card, "has no 'segserve' entry in its header"),
        (card_is_no_json, "does not describe a model: Invalid JSON"),
        (card_lacks_a_field, "does not describe a model: licence: Field required"),
    ],
)
def test_what_is_no_checkpoint_is_refused_by_name(
    spoil: Callable[[Path, Card], None], reason: str, card: Card, tmp_path: Path
) -> None:
    path = tmp_path / "spoilt.safetensors"
    spoil(path, card)
    with pytest.raises(CheckpointError, match=reason) as caught:
        Checkpoint.open(path)
    assert str(path) in str(caught.value)


def renamed(weights: dict[str, Tensor]) -> None:
    weights["3.weight"] = weights.pop("2.weight")


def reshaped(weights: dict[str, Tensor]) -> None:
    weights["2.weight"] = weights["2.weight"][:5]


def whole_numbers(weights: dict[str, Tensor]) -> None:
    weights["2.weight"] = weights["2.weight"].int()


@pytest.mark.parametrize(
    ("change", "phrases"),
    [
        (renamed, ["1 missing (2.weight)", "1 unexpected (3.weight)"]),
        (reshaped, ["1 of another shape (2.weight is (5, 8, 1, 1), not (11, 8, 1, 1))"]),
        (whole_numbers, ["1 of another type (2.weight is torch.int32, not torch.float32)"]),
    ],
)
def test_weights_that_do_not_fit_are_named_and_change_nothing(
    change: Callable[[dict[str, Tensor]], None], phrases: list[str], card: Card, tmp_path: Path
) -> None:
    weights = dict(small_network().state_dict())
    change(weights)
    save_file(weights, tmp_path / "a.safetensors", metadata={"segserve": card.model_dump_json()})
    network = small_network()
    nn.init.zeros_(network.get_parameter("0.weight"))
    with pytest.raises(CheckpointError) as caught:
        Checkpoint.open(tmp_path / "a.safetensors").load_into(network)
    for phrase in phrases:
        assert phrase in str(caught.value)
    assert "does not fit eseg-lite-s with 11 classes" in str(caught.value)
    assert not network.get_parameter("0.weight").any()


def test_of_many_mismatches_the_first_few_are_named() -> None:
    wanted = {f"layer{i}": torch.zeros(1) for i in range(9)}
    assert mismatches(wanted, {}) == ["9 missing (layer0, layer1, layer2, layer3, layer4, ...)"]
    assert mismatches(wanted, wanted) == []
