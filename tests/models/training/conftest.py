from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models.training.recipe import Recipe
from tests.models.training.runs import four_steps, start


@pytest.fixture
def recipe() -> Callable[..., Recipe]:
    """A recipe of a few seconds for the dataset of `dataset_dir`, with changes as keyword arguments."""

    def make(**changes: Any) -> Recipe:
        values: dict[str, Any] = {
            "source": "tests",
            "model": "eseg-lite-s",
            "label_set": "camvid11",
            "data": "drawn",
            "licence": "Free for tests",
            "epochs": 2,
            "batch_size": 2,
            "long_side": 64,
            "crop": (48, 64),
            "photometric": 0.5,
            "optimiser": "adamw",
            "learning_rate": 1e-3,
            "weight_decay": 0.01,
            "ema_decay": 0.9,
        }
        return Recipe(**values | changes)

    return make


@pytest.fixture(scope="package")
def straight(dataset_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of four steps, two epochs, that nothing interrupted."""
    out = tmp_path_factory.mktemp("straight") / "run"
    start(four_steps(), dataset_dir, out, validate_every=1).train()
    return out
