import shutil
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


def test_a_name_in_the_users_folder_hides_every_shipped_version_of_it(shipped: Path, own: Path, card: Card) -> None:
    for name in ("street", "alley"):
        put(shipped, card, name, 3, "theirs")
    put(own, card, "street", 1, "mine")
    assert [(c.card.name, c.card.version, c.card.data) for c in library(own)] == [
        ("alley", 3, "theirs"),
        ("street", 1, "mine"),
    ]
    assert find("street").card.data == "theirs"
    assert find("street", own).card.data == "mine"
    with pytest.raises(UnknownModelError, match="those at hand: alley@3, street@1"):
        find("street@3", own)


@pytest.mark.usefixtures("shipped")
def test_a_files_name_is_what_it_is_called_whatever_its_card_says(own: Path, card: Card) -> None:
    first = put(own, card, "street", 1)
    for name in ("street@7", "alley-2.b@10"):
        shutil.copy(first, own / f"{name}.safetensors")
    assert [(c.card.name, c.card.version) for c in library(own)] == [("alley-2.b", 10), ("street", 1), ("street", 7)]
    assert find("street", own).path == own / "street@7.safetensors"
    assert find("alley-2.b@10", own).card.licence == card.licence


@pytest.mark.usefixtures("shipped")
@pytest.mark.parametrize("name", ["best", "street", "street@", "@1", "street@0", "street@07", "street@x", "Street@1"])
def test_a_file_that_is_not_called_name_at_version_is_refused(name: str, own: Path, card: Card) -> None:
    put(own, card, "street", 1).rename(own / f"{name}.safetensors")
    with pytest.raises(CheckpointError, match=r"is not called NAME@VERSION\.safetensors .* such as street@1"):
        library(own)


@pytest.mark.parametrize("wanted", ["lane", "street@3", "street@x", "", "@1", "stree"])
def test_an_unknown_model_is_answered_with_those_at_hand(wanted: str, shipped: Path, own: Path, card: Card) -> None:
    put(shipped, card, "street", 1)
    put(own, card, "alley", 2)
    with pytest.raises(UnknownModelError) as caught:
        find(wanted, own)
    assert str(caught.value) == f"there are no weights for model '{wanted}'; those at hand: alley@2, street@1"


def test_a_folder_that_is_not_there_is_refused(shipped: Path, tmp_path: Path, card: Card) -> None:
    put(shipped, card, "street", 1)
    (tmp_path / "file").write_text("no folder")
    for name in ("gone", "file"):
        with pytest.raises(CheckpointError, match=f"there is no folder .*{name} to take models from"):
            find("street", tmp_path / name)


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
