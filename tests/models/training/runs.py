"""Runs of a few steps, to be stopped, continued and looked at."""

import json
import signal
from pathlib import Path
from typing import Any

import torch

from models.training.loop import Run
from models.training.recipe import Recipe


def start(recipe: Recipe, data: Path, out: Path, **options: Any) -> Run:
    return Run(recipe, data, out, workers=0, device=torch.device("cpu"), **options)


def interrupt_in_step(run: Run, step: int) -> None:
    """Have SIGINT arrive in the middle of a step (from 1): after the forward pass, before the weights are changed."""

    def arrive(*_: object) -> None:
        if run.step == step - 1:
            signal.raise_signal(signal.SIGINT)

    run.loss.register_forward_hook(arrive)


def state_of(out: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(out / "state.pt")
    return state


def log_of(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text(encoding="utf-8").splitlines()]


def make_recipe(**changes: Any) -> Recipe:
    """A recipe of a few seconds for the dataset of `dataset_dir`."""
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


def as_toml(recipe: Recipe) -> str:
    fields = recipe.model_dump(mode="json", exclude_none=True)
    return "".join(f"{name} = {value!r}\n" for name, value in fields.items())


def four_steps() -> Recipe:
    """With all that a run has to bring back when it goes on."""
    return make_recipe(
        seed=3,
        crop=(40, 56),
        warmup_epochs=1,
        clip_gradient_norm=5,
        class_weights="inverse-log",
        ohem_threshold=0.9,
        ohem_kept=0.1,
        jaccard=0.5,
        level_dropout=0.3,
        channel_dropout=0.1,
    )
