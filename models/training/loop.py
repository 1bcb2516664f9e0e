"""The training loop.

Nothing random outlives a step: the order of an epoch and every view of a photo derive from (seed, epoch, index), what
dropout leaves out from (seed, step), so a run that was stopped and resumed takes the same steps as one that was not.
"""

import math
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import convert_conv2d_weight_memory_format
from tqdm import tqdm

from models.engine.loading import load_engine
from models.engine.precision import best_dtype, default_device
from models.labelsets import load as load_label_set
from models.training.augmentation import Augmentation
from models.training.copy_paste import Donors
from models.training.dataset import DataError, SegmentationFolder
from models.training.evaluation import Scores, evaluate
from models.training.float32_convolutions import keep_in_float32
from models.training.initialisation import initialise, origin
from models.training.interruption import Interruption
from models.training.kept_weights import KeptWeights
from models.training.loss import SegmentationLoss
from models.training.optimisation import make_optimiser, set_batch_norm_momentum, set_dropout
from models.training.plan import Plan
from models.training.recipe import Recipe
from models.training.run_folder import RunError, RunFolder, hash_of
from models.training.views import Views
from models.weights.card import Card, Preprocessing
from models.weights.checkpoint import Checkpoint
from models.zoo.registry import build


class Run:
    """One training run in the folder `out`.

    Raises RunError, RecipeError, DataError, CheckpointError, UnknownArchitectureError, UnknownLabelSetError.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: Path,
        out: Path,
        *,
        resume: bool = False,
        init: Path | None = None,
        exclude: tuple[str, ...] = (),
        workers: int = 2,
        validate_every: int = 5,
        device: torch.device | None = None,
    ) -> None:
        """init: weights to start from; a run that is resumed has its own. exclude: photos left out of training, by file
        name pattern. validate_every: epochs between checkpoints."""
        self.recipe, self.workers, self.validate_every = recipe, workers, validate_every
        self.folder = RunFolder(out, resume=resume)
        self.device = device or default_device()
        label_set = load_label_set(recipe.label_set)
        self.train_set = SegmentationFolder(data, recipe.train_split, label_set, layout=recipe.layout, exclude=exclude)
        self.val_set = SegmentationFolder(data, recipe.val_split, label_set, layout=recipe.layout)
        self.photos = hash_of(self.train_set, self.val_set)
        if len(self.train_set) < 2:
            raise DataError(f"{self.train_set.photos[0]} alone is too few to train on: batch norm needs two photos")
        self.plan = Plan(recipe, len(self.train_set))

        torch.manual_seed(recipe.seed)
        network = build(recipe.model, len(label_set.classes), recipe.options).to(self.device)
        if recipe.batch_norm_momentum is not None:
            set_batch_norm_momentum(network, recipe.batch_norm_momentum)
        set_dropout(network, recipe)
        if self.device.type == "cpu":
            keep_in_float32(network)
        height, width = self.val_set[0][0].shape[:2]
        self.card = Card(
            name=recipe.model,
            version=1,
            architecture=recipe.model,
            options=recipe.options,
            label_set=recipe.label_set,
            num_classes=len(label_set.classes),
            input_size=(height, width),
            preprocessing=Preprocessing(
                long_side=recipe.long_side, enlarge=recipe.enlarge, brightness=recipe.brightness
            ),
            licence=recipe.licence,
            data=recipe.data,
        )
        if recipe.init_share > 0 and init is None and not resume:
            raise RunError(f"the recipe keeps {recipe.init_share:g} of the weights that it begins with: give --init")
        if init is not None and not resume:
            tqdm.write(initialise(network, init, whole=recipe.init_share > 0), file=sys.stderr)
            self.card = self.card.model_copy(update={"data": f"{self.card.data}; {origin(init)}"})
        self.network = convert_conv2d_weight_memory_format(network, torch.channels_last)
        self.kept = KeptWeights(self.network, decay=recipe.ema_decay, init_share=recipe.init_share)
        self.optimiser = make_optimiser(network, recipe)
        # What takes long comes last: thousands of label maps. A bad one of val is told now, not when it is scored.
        bar = partial(tqdm, desc="reading label maps", unit="photo", delay=5, leave=False, dynamic_ncols=True)
        pixels = self.train_set.class_pixels(bar)
        self.val_set.class_pixels(bar)
        self.views = Views(self.train_set, Augmentation(recipe, self.card.preprocessing), Donors(pixels))
        self.loss = SegmentationLoss(recipe, pixels.sum(0) / pixels.sum()).to(self.device)
        self.step, self.validated, self.best = 0, 0, -1.0
        self.losses: list[float] = []
        if resume:
            self._load()

    def train(self) -> float:
        """Train to the last step and return the best validation mIoU.

        On SIGINT or SIGTERM the step is finished and the state saved before KeyboardInterrupt is raised.
        """
        self.started = time.monotonic()
        if self.validated < self.step and self._due():
            self._validate()
        # A log file keeps every state of the bar as a line.
        interval = 0.1 if sys.stderr.isatty() else 30.0
        with (
            Interruption() as stop,
            tqdm(
                total=self.plan.steps,
                initial=self.step,
                unit="step",
                dynamic_ncols=True,
                mininterval=interval,
                maxinterval=max(10.0, 2 * interval),
            ) as bar,
        ):
            for photos, labels in self._batches(stop):
                loss = self._step(photos, labels)
                self.losses.append(loss)
                epoch, rate = self.step // self.plan.steps_per_epoch, self.plan.learning_rate(self.step - 1)
                bar.set_postfix(epoch=epoch, loss=f"{loss:.3f}", lr=f"{rate:.2e}", refresh=False)
                bar.update()
                if self._due():
                    self._validate()
                if stop.requested:
                    self._save()
                    raise KeyboardInterrupt
        return self.best

    def _batches(self, stop: Interruption) -> Iterator[tuple[Tensor, Tensor]]:
        epoch_steps, steps = self.plan.steps_per_epoch, self.plan.steps
        try:
            for epoch in range(self.step // epoch_steps, math.ceil(steps / epoch_steps)):
                batches = self.views.batches(epoch, self.plan.batch_size)
                end = min(epoch_steps, steps - epoch * epoch_steps)
                yield from self.views.loaded(batches[self.step % epoch_steps : end], self.workers)
        except DataError:
            # It must not cost the steps since the last checkpoint.
            if self.step > 0:
                self._save()
            if stop.requested:
                # What asks this process to stop may have ended those that load photos.
                raise KeyboardInterrupt from None
            raise

    def _due(self) -> bool:
        return self.step == self.plan.steps or self.step % (self.validate_every * self.plan.steps_per_epoch) == 0

    def _step(self, photos: Tensor, labels: Tensor) -> float:
        for group in self.optimiser.param_groups:
            group["lr"] = self.plan.learning_rate(self.step)
        self.network.train()
        self.optimiser.zero_grad()
        # What dropout leaves out, on every device.
        torch.manual_seed(self.recipe.seed + self.step)
        parts = zip(photos.tensor_split(self.plan.parts), labels.tensor_split(self.plan.parts), strict=True)
        try:
            loss = torch.stack([self._backward(*part, share=len(part[0]) / len(photos)) for part in parts]).sum()
        except torch.OutOfMemoryError as error:
            raise RunError(self._too_large(error)) from error
        most = math.inf if self.recipe.clip_gradient_norm is None else self.recipe.clip_gradient_norm
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), most)
        # The one time in a step that a GPU is waited for.
        value, length = (float(figure) for figure in torch.stack((loss, norm)).tolist())
        if not (math.isfinite(value) and math.isfinite(length)):
            raise RunError(self._diverged(value, length))
        self.optimiser.step()
        self.kept.update(self.network)
        self.step += 1
        return value

    def _backward(self, photos: Tensor, labels: Tensor, *, share: float) -> Tensor:
        """Adds the gradient of a part of a batch, which is this share of it, and returns that share of the loss."""
        # In float16 small gradients would vanish.
        with torch.autocast(self.device.type, torch.bfloat16, enabled=best_dtype(self.device) is torch.bfloat16):
            logits = self.network(photos.to(self.device, memory_format=torch.channels_last))
        loss = share * self.loss(logits, labels.to(self.device))
        loss.backward()
        value: Tensor = loss.detach()
        return value

    def _too_large(self, error: torch.OutOfMemoryError) -> str:
        size, parts = self.plan.batch_size, self.plan.parts
        fewer = f"--accumulate {2 * parts}, of a batch of {size}, or " if parts < size // 2 else ""
        return (
            f"memory is too short for {math.ceil(size / parts)} crops of {self.recipe.crop} at a time: "
            f"begin again with {fewer}a smaller crop; {error}"
        )

    def _diverged(self, loss: float, norm: float) -> str:
        best = self.folder.best
        again = f", and go on from the best weights in another --out with --init {best}" if best.exists() else ""
        return (
            f"the run diverged in step {self.step + 1} (loss {loss}, norm of the gradient {norm}), which is not taken: "
            f"lower learning_rate in the recipe or set clip_gradient_norm{again}"
        )

    def _validate(self) -> None:
        # A photo of val that cannot be read must not cost the steps since the last checkpoint.
        self._save()
        kept = self.kept.network()
        self.folder.save_weights(kept, self.card, self.folder.last)
        # Compiling would cost more than it saves, and fill the cache with networks of one use.
        result = evaluate(load_engine(Checkpoint.open(self.folder.last), device=self.device, wait=False), self.val_set)
        if result.miou > self.best:
            self.best = result.miou
            self.folder.save_weights(kept, self._scored(result), self.folder.best)
        row = {
            "epoch": self.step / self.plan.steps_per_epoch,
            "loss": float(np.mean(self.losses)),
            "learning_rate": self.plan.learning_rate(self.step - 1),
            "seconds": round(time.monotonic() - self.started, 1),
            **asdict(result),
        }
        self.folder.log(row)
        self.losses, self.validated = [], self.step
        summary = f"loss {row['loss']:.3f}, val mIoU {result.miou:.4f} (best {self.best:.4f})"
        tqdm.write(f"epoch {row['epoch']:.0f}: {summary}", file=sys.stderr)
        self._save()

    def _scored(self, result: Scores) -> Card:
        measured = {"miou": result.miou, "pixel_accuracy": result.pixel_accuracy, "ece": result.ece}
        scores = {f"val_{name}": round(value, 4) for name, value in measured.items()}
        return self.card.model_copy(update={"scores": scores})

    def _load(self) -> None:
        state = self.folder.load_state(self.recipe, self.photos)
        self.network.load_state_dict(state["network"])
        self.kept.load_state_dict(state)
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.best, self.losses = state["step"], state["best"], state["losses"]
        # Runs older than these fields have none.
        self.validated = state.get("validated", self.step)
        self.card = self.card.model_copy(update={"data": state.get("data", self.card.data)})

    def _save(self) -> None:
        state = {
            "network": self.network.state_dict(),
            **self.kept.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "validated": self.validated,
            "best": self.best,
            "losses": self.losses,
            "data": self.card.data,
        }
        self.folder.save_state(self.recipe, self.photos, state)
