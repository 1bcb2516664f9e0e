from typing import Any

import pytest
from pydantic import ValidationError

from models.weights.card import Card

CARD: dict[str, Any] = {
    "name": "tiny",
    "version": 1,
    "architecture": "eseg-lite-s",
    "label_set": "camvid11",
    "num_classes": 11,
    "input_size": (360, 480),
    "preprocessing": {"long_side": 480},
    "licence": "Free",
    "data": "Nothing",
}


def test_a_card_survives_json() -> None:
    card = Card(**CARD, scores={"val_miou": 0.5})
    assert Card.model_validate_json(card.model_dump_json()) == card


def test_preprocessing_is_imagenets_unless_told() -> None:
    preprocessing = Card(**CARD).preprocessing
    assert (preprocessing.grid, preprocessing.mean, preprocessing.std) == (
        32,
        (0.485, 0.456, 0.406),
        (0.229, 0.224, 0.225),
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"name": "Has Spaces"}, "name"),
        ({"name": "with@version"}, "name"),
        ({"version": 0}, "version"),
        ({"num_classes": 256}, "num_classes"),
        ({"num_classes": 19}, "num_classes is 19, but camvid11 has 11"),
        ({"label_set": "nowhere"}, "no label set 'nowhere'"),
        ({"input_size": (0, 480)}, "input_size"),
        ({"preprocessing": {"long_side": 0}}, "long_side"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_card_that_makes_no_sense_is_refused(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        Card(**CARD | change)
