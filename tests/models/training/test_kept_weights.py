from pathlib import Path

import pytest
import torch
from torch import nn

from models.training.kept_weights import KeptWeights, moving_average
from models.training.run_folder import RunError
from models.weights.checkpoint import Checkpoint
from models.zoo.registry import build
from tests.models.training.runs import four_steps, interrupt_in_step, make_recipe, start, state_of


def test_the_moving_average_forgets_its_start_and_then_slows() -> None:
    update = moving_average(0.998)
    average, value = [torch.zeros(1), torch.tensor(0)], [torch.ones(1), torch.tensor(7)]
    update(average, value, 0)
    assert average[0].item() == pytest.approx(0.9)
    assert average[1].item() == 7
    average[0].zero_()
    update(average, value, 10**6)
    assert average[0].item() == pytest.approx(0.002, rel=1e-3)


@pytest.mark.parametrize(("share", "kept"), [(0.0, 3.0), (0.25, 2.0), (0.5, 1.0)])
def test_a_share_of_what_is_kept_is_what_the_network_was(share: float, kept: float) -> None:
    network = nn.BatchNorm2d(2)
    nn.init.constant_(network.weight, -1.0)
    weights = KeptWeights(network, decay=0.0, init_share=share)
    nn.init.constant_(network.weight, 3.0)
    weights.update(network)
    state = weights.network().state_dict()
    assert state["weight"].tolist() == [kept, kept]
    assert weights.average.module.get_parameter("weight").tolist() == [3.0, 3.0]


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    network = build("eseg-lite-s", 11)
    Checkpoint.open(path).load_into(network)
    return network.state_dict()


def test_a_run_saves_the_mean_of_its_average_and_its_start_and_is_resumed_to_it(
    straight: Path, dataset_dir: Path, tmp_path: Path
) -> None:
    init, recipe = straight / "last.safetensors", four_steps().model_copy(update={"init_share": 0.5})
    start(recipe, dataset_dir, tmp_path / "whole", init=init, validate_every=1).train()
    began, saved = weights_of(init), weights_of(tmp_path / "whole" / "last.safetensors")
    average = state_of(tmp_path / "whole")["average"]
    assert not all(torch.equal(average[f"module.{name}"], tensor) for name, tensor in began.items())
    for name, tensor in saved.items():
        mean = (began[name] + average[f"module.{name}"]) / 2
        # Kernels are saved in half precision.
        assert torch.allclose(tensor, mean.to(tensor.dtype), atol=1e-4, rtol=1e-3), name

    stopped = start(recipe, dataset_dir, tmp_path / "parts", init=init, validate_every=1)
    interrupt_in_step(stopped, 3)
    with pytest.raises(KeyboardInterrupt):
        stopped.train()
    start(recipe, dataset_dir, tmp_path / "parts", resume=True, validate_every=1).train()
    whole, parts = (tmp_path / run / "last.safetensors" for run in ("whole", "parts"))
    assert whole.read_bytes() == parts.read_bytes()


def test_a_share_of_nothing_is_refused(dataset_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="give --init"):
        start(make_recipe(init_share=0.5), dataset_dir, tmp_path)
