"""Cross entropy per pixel, with class weights and online hard example mining."""

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
        logits = F.interpolate(logits.float(), labels.shape[1:], mode="bilinear", align_corners=False)
        losses = F.cross_entropy(logits, labels, weight=self.weights, ignore_index=IGNORE, reduction="none")
        counted = labels != IGNORE
        if self.recipe.ohem_threshold is not None:
            counted = counted & self._hard(logits.detach(), labels, counted, self.recipe.ohem_threshold)
        norm = counted.sum() if self.weights is None else self.weights[labels[counted]].sum()
        return (losses * counted).sum() / norm.clamp(min=1)

    def _hard(self, logits: Tensor, labels: Tensor, counted: Tensor, threshold: float) -> Tensor:
        probability = logits.softmax(1).gather(1, labels.where(counted, 0)[:, None])[:, 0]
        kept = int(self.recipe.ohem_kept * int(counted.sum()))
        if kept > 0:
            hardest = probability[counted].kthvalue(kept).values.item()
            threshold = max(threshold, hardest)
        return probability <= threshold
