import math

import numpy as np
import pytest
import torch

from models.training.loss import SegmentationLoss, soft_jaccard, upsample_sparsely
from tests.models.training.runs import make_recipe

HALF_AND_HALF = np.array([0.5, 0.5])


def logits_for(*probabilities: float) -> torch.Tensor:
    """Of two classes, in one row of pixels: those whose softmax gives class 1 these probabilities."""
    p = torch.tensor(probabilities)
    return torch.stack([torch.log(1 - p), torch.log(p)])[None, :, None]


def test_the_loss_is_the_mean_of_minus_log_probability() -> None:
    loss = SegmentationLoss(make_recipe(), HALF_AND_HALF)(logits_for(0.9, 0.5, 0.2), torch.tensor([[[1, 1, 0]]]))
    assert loss.item() == pytest.approx(-(math.log(0.9) + math.log(0.5) + math.log(0.8)) / 3, rel=1e-5)


def test_ignored_pixels_count_for_nothing() -> None:
    loss = SegmentationLoss(make_recipe(), HALF_AND_HALF)(logits_for(0.9, 0.5, 0.2), torch.tensor([[[1, 255, 255]]]))
    assert loss.item() == pytest.approx(-math.log(0.9), rel=1e-5)


@pytest.mark.parametrize("ohem", [None, 0.7])
@pytest.mark.parametrize("weights", ["none", "inverse-log"])
def test_a_batch_without_labels_has_no_loss(ohem: float | None, weights: str) -> None:
    mining = make_recipe(ohem_threshold=ohem, ohem_kept=0.5 if ohem else 0.0, class_weights=weights)
    criterion = SegmentationLoss(mining, HALF_AND_HALF)
    logits = logits_for(0.9, 0.5).requires_grad_()
    loss = criterion(logits, torch.full((1, 1, 2), 255))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_logits_are_upsampled_to_the_labels() -> None:
    loss = SegmentationLoss(make_recipe(), HALF_AND_HALF)(logits_for(0.9), torch.ones(1, 4, 6, dtype=torch.int64))
    assert loss.item() == pytest.approx(-math.log(0.9), rel=1e-5)


def test_class_weights_by_hand() -> None:
    shares = np.array([0.9, 0.1])
    criterion = SegmentationLoss(make_recipe(class_weights="inverse-log"), shares)
    raw = [1 / math.log(1.02 + share) for share in shares]
    weights = [2 * w / sum(raw) for w in raw]
    assert criterion.weights is not None
    assert criterion.weights.tolist() == pytest.approx(weights, rel=1e-5)
    loss = criterion(logits_for(0.9, 0.2), torch.tensor([[[1, 0]]]))
    expected = -(weights[1] * math.log(0.9) + weights[0] * math.log(0.8)) / (weights[0] + weights[1])
    assert loss.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("threshold", "kept", "counted"),
    [
        (0.7, 0.0, [0.5, 0.2]),  # those below the threshold
        (0.1, 0.5, [0.5, 0.2]),  # none is, so the hardest half
        (0.7, 0.75, [0.8, 0.5, 0.2]),  # two are, but three must count
        (0.99, 0.0, [0.9, 0.8, 0.5, 0.2]),
    ],
)
def test_online_hard_example_mining_by_hand(threshold: float, kept: float, counted: list[float]) -> None:
    criterion = SegmentationLoss(make_recipe(ohem_threshold=threshold, ohem_kept=kept), HALF_AND_HALF)
    labels = torch.tensor([[[1, 1, 1, 1, 255]]])
    loss = criterion(logits_for(0.9, 0.8, 0.5, 0.2, 0.01), labels)
    assert loss.item() == pytest.approx(-sum(map(math.log, counted)) / len(counted), rel=1e-5)


def test_easy_pixels_teach_nothing_under_mining() -> None:
    logits = logits_for(0.9, 0.2).requires_grad_()
    SegmentationLoss(make_recipe(ohem_threshold=0.7), HALF_AND_HALF)(logits, torch.tensor([[[1, 1]]])).backward()
    assert logits.grad is not None
    assert not logits.grad[..., 0].any()
    assert logits.grad[..., 1].all()


def test_soft_jaccard_by_hand() -> None:
    loss = soft_jaccard(logits_for(0.9, 0.2, 0.7), torch.tensor([[[1, 0, 255]]]))
    car, road = 0.9 / (1.1 + 1 - 0.9), 0.8 / (0.9 + 1 - 0.8)
    assert loss.item() == pytest.approx(1 - (car + road) / 2, rel=1e-5)


def test_soft_jaccard_is_over_the_classes_that_occur() -> None:
    assert soft_jaccard(logits_for(0.9, 0.6), torch.tensor([[[1, 1]]])).item() == pytest.approx(1 - 1.5 / 2, rel=1e-5)
    assert soft_jaccard(logits_for(0.9), torch.tensor([[[255]]])).item() == 0


def test_the_jaccard_term_is_added_by_its_weight() -> None:
    logits, labels = logits_for(0.9, 0.2, 0.7), torch.tensor([[[1, 0, 1]]])
    # Areas of 3 x 3 pixels, of which the term looks at one each.
    wide = [x.repeat_interleave(3, -1).repeat_interleave(3, -2) for x in (logits, labels)]
    with_it, without = (SegmentationLoss(make_recipe(jaccard=weight), HALF_AND_HALF)(*wide) for weight in (2.0, 0.0))
    assert (with_it - without).item() == pytest.approx(2 * soft_jaccard(logits, labels).item(), rel=1e-4)


@pytest.mark.parametrize(("size", "step"), [((24, 40), 1), ((25, 41), 3), ((3, 5), 2), ((7, 9), 100)])
def test_logits_are_upsampled_where_the_loss_looks(size: tuple[int, int], step: int) -> None:
    logits = torch.randn(2, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    everywhere = torch.nn.functional.interpolate(logits, size, mode="bilinear", align_corners=False)
    torch.testing.assert_close(upsample_sparsely(logits, size, step), everywhere[..., ::step, ::step])


def test_a_loss_of_every_third_pixel_looks_at_no_other() -> None:
    criterion = SegmentationLoss(make_recipe(loss_step=3, jaccard=1.0), HALF_AND_HALF)
    logits = torch.randn(1, 2, 9, 9, generator=torch.Generator().manual_seed(0))
    labels = torch.zeros(1, 9, 9, dtype=torch.int64)
    seen, unseen = labels.clone(), labels.clone()
    seen[0, 3, 6], unseen[0, 4, 6] = 1, 1
    assert criterion(logits, unseen) == criterion(logits, labels)
    assert criterion(logits, seen) != criterion(logits, labels)
