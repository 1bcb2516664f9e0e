"""The weights of a run that are scored and saved: an average along the way, mixed with those that it began with."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


class KeptWeights:
    """The exponential moving average of a network's weights and statistics.

    Where `init_share` is above 0, that share of each number is of the network as it is given here: between the two lie
    weights that can do better than either, above all on other photos (Wortsman et al. 2022, Robust fine-tuning).
    """

    def __init__(self, network: nn.Module, *, decay: float, init_share: float) -> None:
        self.average = AveragedModel(network, multi_avg_fn=moving_average(decay), use_buffers=True)
        self._init_share = init_share
        state = network.state_dict() if init_share > 0 else {}
        self._initial = {name: value.to("cpu", copy=True) for name, value in state.items()}

    def update(self, network: nn.Module) -> None:
        """After each step."""
        self.average.update_parameters(network)

    def network(self) -> nn.Module:
        """To be scored and saved; valid until the next update."""
        average: nn.Module = self.average.module
        if not self._initial:
            return average
        mixed = deepcopy(average)
        for name, value in mixed.state_dict().items():
            if value.is_floating_point():
                value.lerp_(self._initial[name].to(value.device), self._init_share)
        return mixed

    def state_dict(self) -> dict[str, Any]:
        return {"average": self.average.state_dict(), "initial": self._initial}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.average.load_state_dict(state["average"])
        # Runs older than this field have none.
        self._initial = state.get("initial", {})


def moving_average(decay: float) -> Callable[[Sequence[Tensor], Sequence[Tensor], Tensor | int], None]:
    """Exponential moving average whose decay grows from 0.1 to `decay`, so that the random start is soon forgotten."""

    def update(averages: Sequence[Tensor], values: Sequence[Tensor], updates: Tensor | int) -> None:
        current = min(decay, (1 + float(updates)) / (10 + float(updates)))
        for average, value in zip(averages, values, strict=True):
            if average.is_floating_point():
                average.lerp_(value, 1 - current)
            else:
                average.copy_(value)

    return update
