"""How long a run is."""

from dataclasses import dataclass

from models.training.optimisation import learning_rate
from models.training.recipe import Recipe
from models.training.run_folder import RunError


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps of a run by a recipe on so many photos. Raises RunError."""

    recipe: Recipe
    photos: int

    def __post_init__(self) -> None:
        epochs = self.steps / self.steps_per_epoch
        if self.recipe.warmup_epochs >= epochs:
            raise RunError(
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
        return learning_rate(self.recipe, step / self.steps_per_epoch, self.steps / self.steps_per_epoch)
