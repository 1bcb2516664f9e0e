"""A handler as TorchServe's own image_segmenter is: float32, one tensor of classes x H x W, the answer a JSON list."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from models.engine.loading import Checkpoint, load_network


class StockHandler:
    """Photos of one size a batch. The class of every pixel and its probability, H x W x 2 floats."""

    def initialize(self, context: Any) -> None:
        [path] = Path(context.system_properties["model_dir"]).glob("*.safetensors")
        checkpoint = Checkpoint.open(path)
        self._network = load_network(checkpoint).eval()
        self._mean = torch.tensor(checkpoint.card.preprocessing.mean).view(3, 1, 1)
        self._std = torch.tensor(checkpoint.card.preprocessing.std).view(3, 1, 1)

    @torch.inference_mode()
    def handle(self, data: Sequence[dict[str, Any]], context: Any) -> list[Any]:  # noqa: ARG002
        images = [np.asarray(Image.open(io.BytesIO(call["body"])).convert("RGB")) for call in data]
        tensors = [(torch.from_numpy(i.copy()).permute(2, 0, 1).float() / 255 - self._mean) / self._std for i in images]
        logits = self._network(torch.stack(tensors))
        full = F.interpolate(logits, tensors[0].shape[1:], mode="bilinear", align_corners=False)
        best = full.softmax(1).max(1)
        answer: list[Any] = torch.stack([best.indices.float(), best.values], dim=3).tolist()
        return answer
