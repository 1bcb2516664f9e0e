"""Cross entropy per pixel, with class weights and hard example mining, and a soft Jaccard term that mirrors mIoU."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from models.training.augmentation import IGNORE
from models.training.recipe import Recipe


class SegmentationLoss(nn.Module):
    """Logits (N x C x h x w, any resolution) against labels (int64, N x H x W, 255 ignored); a scalar."""

    weights: Tensor | None

    def __init__(self, recipe: Recipe, class_shares: NDArray[np.float64]) -> None:
        super().__init__()
        self.recipe = recipe
        weights = None
        if recipe.class_weights == "inverse-log":
            weights = torch.from_numpy(1 / np.log(1.02 + class_shares)).float()
            weights = weights / weights.mean()
        self.register_buffer("weights", weights)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        step = self.recipe.loss_step
        logits = upsample_sparsely(logits.float(), (labels.shape[1], labels.shape[2]), step)
        labels = labels[:, ::step, ::step]
        losses = F.cross_entropy(logits, labels, weight=self.weights, ignore_index=IGNORE, reduction="none")
        counted = labels != IGNORE
        if self.recipe.ohem_threshold is not None:
            counted = counted & self._hard(logits.detach(), labels, counted, self.recipe.ohem_threshold)
        norm = counted.sum() if self.weights is None else self.weights[labels[counted]].sum()
        loss = (losses * counted).sum() / norm.clamp(min=1)
        if self.recipe.jaccard > 0:
            loss = loss + self.recipe.jaccard * soft_jaccard(logits, labels)
        return loss

    def _hard(self, logits: Tensor, labels: Tensor, counted: Tensor, threshold: float) -> Tensor:
        probability = logits.softmax(1).gather(1, labels.where(counted, 0)[:, None])[:, 0]
        kept = int(self.recipe.ohem_kept * int(counted.sum()))
        if kept > 0:
            hardest = probability[counted].kthvalue(kept).values.item()
            threshold = max(threshold, hardest)
        return probability <= threshold


def upsample_sparsely(logits: Tensor, size: tuple[int, int], step: int) -> Tensor:
    """N x C x h x w, bilinearly (align_corners False), at every `step`-th row and column of H x W pixels.

    As two matrix products, which costs a fraction of torch's interpolation and its backward pass.
    """
    return (
        _interpolation(logits.shape[2], size[0], step, logits)
        @ logits
        @ _interpolation(logits.shape[3], size[1], step, logits).mT
    )


def _interpolation(inputs: int, outputs: int, step: int, like: Tensor) -> Tensor:
    """The matrix, ceil(outputs / step) x inputs, of linear interpolation."""
    identity = torch.eye(inputs, dtype=like.dtype, device=like.device)
    return F.interpolate(identity[None], outputs, mode="linear", align_corners=False)[0].mT[::step]


def soft_jaccard(logits: Tensor, labels: Tensor) -> Tensor:
    """1 - intersection over union of softmax and labels, summed over the batch; the mean of the classes that occur.

    logits: N x C x H x W. labels: int64, N x H x W, 255 ignored. Rahman & Wang 2016, equation 2.
    """
    counted = (labels != IGNORE).float()[:, None]
    truth = F.one_hot(labels.where(labels != IGNORE, 0), logits.shape[1]).movedim(-1, 1) * counted
    probability = logits.softmax(1) * counted
    shared = (probability * truth).sum((0, 2, 3))
    true = truth.sum((0, 2, 3))
    union = probability.sum((0, 2, 3)) + true - shared
    occurs = true > 0
    return (1 - shared / union.clamp(min=1e-6))[occurs].sum() / occurs.sum().clamp(min=1)
