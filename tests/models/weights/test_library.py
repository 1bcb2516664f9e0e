from pathlib import Path

import pytest
import torch

from models.weights import library as library_module
from models.weights.card import Card
from models.weights.checkpoint import CheckpointError, save
from models.weights.library import UnknownModelError, find, library


@pytest.fixture
def card(checkpoint_dir: Path) -> Card:
    return find("tiny", checkpoint_dir).card


def put(folder: Path, card: Card, name: str, version: int, data: str = "Nothing") -> Path:
    path = folder / f"{name}@{version}.safetensors"
    save(torch.nn.Conv2d(3, 3, 1), card.model_copy(update={"name": name, "version": version, "data": data}), path)
    return path


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "shipped"
    folder.mkdir()
    monkeypatch.setattr(library_module, "SHIPPED", folder)
    return folder


@pytest.fixture
def own(tmp_path: Path) -> Path:
    folder = tmp_path / "own"
    folder.mkdir()
    return folder


def test_a_name_is_its_newest_version_by_number(shipped: Path, card: Card) -> None:
    paths = {version: put(shipped, card, "street", version) for version in (9, 10, 2)}
    assert find("street").path == paths[10]
    assert find("street@2").path == paths[2]
    assert [c.card.version for c in library()] == [2, 9, 10]


def test_a_users_checkpoint_hides_the_shipped_one_of_its_name_and_version(shipped: Path, own: Path, card: Card) -> None:
    put(shipped, card, "street", 1, "theirs")
    put(shipped, card, "alley", 1, "theirs")
    put(own, card, "street", 1, "mine")
    assert [(c.card.name, c.card.data) for c in library(own)] == [("alley", "theirs"), ("street", "mine")]
    assert find("street").card.data == "theirs"
    assert find("street", own).card.data == "mine"


@pytest.mark.parametrize("wanted", ["lane", "street@3", "street@x", "", "@1", "stree"])
def test_an_unknown_model_is_answered_with_those_at_hand(wanted: str, shipped: Path, own: Path, card: Card) -> None:
    put(shipped, card, "street", 1)
    put(own, card, "alley", 2)
    with pytest.raises(UnknownModelError) as caught:
        find(wanted, own)
    assert str(caught.value) == f"there are no weights for model '{wanted}'; those at hand: alley@2, street@1"


@pytest.mark.usefixtures("shipped")
def test_without_any_weights_the_answer_says_so() -> None:
    assert library() == []
    with pytest.raises(UnknownModelError, match="those at hand: none"):
        find("street")


@pytest.mark.usefixtures("shipped")
def test_a_broken_file_is_named_rather_than_passed_over(own: Path) -> None:
    (own / "broken.safetensors").write_text("no")
    (own / "notes.txt").write_text("passed over")
    with pytest.raises(CheckpointError, match=r"broken\.safetensors"):
        library(own)


def test_everything_that_ships_can_be_opened() -> None:
    for checkpoint in library():
        card = checkpoint.card
        assert checkpoint.path.name == f"{card.name}@{card.version}.safetensors"
        assert card.licence
