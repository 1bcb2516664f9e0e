import numpy as np
import pytest

from models.training.plan import Plan
from models.training.recipe import RecipeError
from tests.models.training.runs import make_recipe


def test_the_rate_warms_up_and_falls_to_zero() -> None:
    plan = Plan(make_recipe(epochs=10, batch_size=2, warmup_epochs=2, learning_rate=1.0), 20)
    assert (plan.steps_per_epoch, plan.steps) == (10, 100)
    rates = [plan.learning_rate(step) for step in range(101)]
    assert 0 < rates[0] < 0.01
    assert rates[10] == pytest.approx(0.5, abs=0.01)
    assert max(rates) == rates[20] == 1
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert rates[60] == pytest.approx(0.5)
    assert rates[100] == pytest.approx(0)
    assert Plan(make_recipe(learning_rate=1.0), 20).learning_rate(0) == 1


def test_a_rate_that_would_rise_to_the_end_is_refused() -> None:
    with pytest.raises(RecipeError, match="over after 2 epochs, while its rate still rises: lower warmup_epochs"):
        Plan(make_recipe(epochs=2, warmup_epochs=2), 4)


@pytest.mark.parametrize(("photos", "batch", "accumulate", "expected"), [(3, 8, 1, (3, 1)), (20, 5, 9, (5, 2))])
def test_batches_and_their_parts_are_not_too_small(
    photos: int, batch: int, accumulate: int, expected: tuple[int, int]
) -> None:
    plan = Plan(make_recipe(batch_size=batch, accumulate=accumulate), photos)
    assert (plan.batch_size, plan.parts) == expected
    assert min(map(len, np.array_split(np.arange(plan.batch_size), plan.parts))) >= 2
