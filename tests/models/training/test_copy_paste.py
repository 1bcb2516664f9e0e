import numpy as np
import pytest

from models.training.copy_paste import Donors, paste

COMMON, RARE, RARER, ABSENT = 0, 1, 2, 3


@pytest.fixture
def donors() -> Donors:
    """Of four photos: the second has much of the rare class, the third some of the rarer, the last next to nothing."""
    return Donors(np.array([[5000, 0, 0, 0], [5000, 200, 0, 0], [5000, 0, 40, 0], [5000, 1, 1, 0]]))


def test_rare_classes_occur_but_seldom(donors: Donors) -> None:
    assert donors.classes.tolist() == [RARE, RARER]


def test_each_rare_class_is_as_likely_and_comes_from_photos_that_have_it(donors: Donors) -> None:
    chosen = np.array([donors.choose(np.random.default_rng(seed)) for seed in range(400)])
    assert set(chosen) == {1, 2}
    assert np.mean(chosen == 1) == pytest.approx(0.5, abs=0.1)


def test_without_rare_classes_nothing_is_chosen() -> None:
    assert Donors(np.array([[50, 50], [50, 50]])).choose(np.random.default_rng(0)) is None


def test_what_is_pasted_keeps_its_place_and_the_rest_is_untouched() -> None:
    photo, labels = np.zeros((2, 3, 3), np.uint8), np.zeros((2, 3), np.uint8)
    donor_photo, donor_labels = np.full((3, 2, 3), 9, np.uint8), np.array([[1, 0], [5, 1], [1, 1]], np.uint8)
    pasted_photo, pasted_labels = paste(photo, labels, donor_photo, donor_labels, np.array([1]))
    assert pasted_labels.tolist() == [[1, 0, 0], [0, 1, 0]]
    assert pasted_photo[..., 0].tolist() == [[9, 0, 0], [0, 9, 0]]
    assert not photo.any()
    assert not labels.any()
