from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from models.training.copy_paste import Donors
from models.training.loop import Run
from models.training.recipe import Recipe
from models.training.views import Views
from tests.models.training.runs import make_recipe


@pytest.fixture
def views(dataset_dir: Path, tmp_path: Path) -> Callable[[Recipe], Views]:
    """The views that a run of the recipe would see."""

    def make(recipe: Recipe) -> Views:
        return Run(recipe, dataset_dir, tmp_path, workers=0, device=torch.device("cpu")).views

    return make


MakeViews = Callable[[Recipe], Views]


def test_every_photo_is_seen_once_an_epoch_in_an_order_of_its_own(views: MakeViews) -> None:
    epochs = [views(make_recipe()).batches(epoch, 2) for epoch in range(6)]
    assert all(key[0] == e for e, batches in enumerate(epochs) for batch in batches for key in batch)
    orders = [tuple(index for batch in batches for _, index in batch) for batches in epochs]
    assert all(sorted(order) == [0, 1, 2, 3] for order in orders)
    assert len(set(orders)) > 1


def test_photos_that_fill_no_batch_wait_for_another_epoch(views: MakeViews) -> None:
    batches = [views(make_recipe(batch_size=3)).batches(epoch, 3) for epoch in range(20)]
    assert all(len(batch) == 1 and len(batch[0]) == 3 for batch in batches)
    assert {index for [batch] in batches for _, index in batch} == {0, 1, 2, 3}


def test_a_view_belongs_to_its_seed_epoch_and_photo(views: MakeViews) -> None:
    seen, reseeded = views(make_recipe(copy_paste=0.5)), views(make_recipe(copy_paste=0.5, seed=1))
    first = seen[0, 0][0]
    assert torch.equal(first, seen[0, 0][0])
    for other in (seen[1, 0], seen[0, 1], reseeded[0, 0]):
        assert not torch.equal(first, other[0])


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_views_get_rare_classes_of_other_photos_as_often_as_told(views: MakeViews, share: float) -> None:
    pasted = views(make_recipe(copy_paste=share, scale=(1.0, 1.0), flip=0.0))
    pasted.donors = Donors(np.array([[990, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0]] * len(pasted.photos)))
    plain = views(make_recipe(scale=(1.0, 1.0), flip=0.0))
    changed = [not torch.equal(pasted[e, i][1], plain[e, i][1]) for e in range(5) for i in range(4)]
    assert any(changed) == bool(share)
