"""How a run goes: its steps, what a step takes, and its rate."""

import math
from dataclasses import dataclass

from models.training.recipe import Recipe, RecipeError


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps of a run by a recipe on so many photos. Raises RecipeError."""

    recipe: Recipe
    photos: int

    def __post_init__(self) -> None:
        epochs = self.steps / self.steps_per_epoch
        if self.recipe.warmup_epochs >= epochs:
            raise RecipeError(
                f"the run is over after {epochs:g} epochs, while its rate still rises: "
                f"lower warmup_epochs in the recipe, which is {self.recipe.warmup_epochs:g}"
            )

    @property
    def batch_size(self) -> int:
        return min(self.recipe.batch_size, self.photos)

    @property
    def parts(self) -> int:
        """Of a batch, one after the other. Batch norm needs two photos in each."""
        return min(self.recipe.accumulate, self.batch_size // 2)

    @property
    def steps_per_epoch(self) -> int:
        return self.photos // self.batch_size

    @property
    def steps(self) -> int:
        return self.recipe.steps or (self.recipe.epochs or 0) * self.steps_per_epoch

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, then half a cosine down to zero at the end."""
        peak, warmup = self.recipe.learning_rate, self.recipe.warmup_epochs
        epoch, epochs = step / self.steps_per_epoch, self.steps / self.steps_per_epoch
        if epoch < warmup:
            return peak * (epoch + 1e-3) / warmup
        return peak * 0.5 * (1 + math.cos(math.pi * (epoch - warmup) / (epochs - warmup)))
