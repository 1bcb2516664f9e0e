"""When a network is captured and which graph is replayed; what CUDA makes of it needs a GPU."""

import pytest
import torch
from torch import Tensor

from models.engine import graphed_network
from models.engine.graphed_network import CudaCapture, GraphedNetwork, Replay, Shape
from models.engine.network import Kind, Network


class Doubling:
    """A network whose logits are its photos, twice."""

    kind: Kind = "eager"
    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self) -> None:
        self.ran: list[Shape] = []

    def __call__(self, photos: Tensor) -> Tensor:
        self.ran.append(tuple(photos.shape))
        return photos.float() * 2


class Captures:
    """Records what is captured and replayed. A replay overwrites its own logits, as a graph does."""

    def __init__(self) -> None:
        self.captured: list[Shape] = []
        self.replayed: list[Shape] = []

    def __call__(self, network: Network, shape: Shape) -> Replay:
        self.captured.append(shape)
        logits = network(torch.zeros(shape, dtype=torch.uint8))

        def replay(photos: Tensor) -> Tensor:
            self.replayed.append(shape)
            return logits.copy_(photos * 2)

        return replay


def photos(batch: int, side: int = 2) -> Tensor:
    return torch.full((batch, side, side, 3), batch, dtype=torch.uint8)


@pytest.fixture
def network() -> Doubling:
    return Doubling()


@pytest.fixture
def captures() -> Captures:
    return Captures()


@pytest.fixture
def graphed(network: Doubling, captures: Captures) -> GraphedNetwork:
    return GraphedNetwork(network, captures)


def test_a_shape_is_captured_when_it_comes_again(
    graphed: GraphedNetwork, network: Doubling, captures: Captures
) -> None:
    one, two = photos(1), photos(2)
    for given in (one, two):
        assert torch.equal(graphed(given), given.float() * 2)
    assert (network.ran, captures.captured) == ([one.shape, two.shape], [])
    for given in (one, two, one, two):
        assert torch.equal(graphed(given), given.float() * 2)
    assert captures.captured == [one.shape, two.shape]
    assert captures.replayed == [one.shape, two.shape, one.shape, two.shape]
    assert graphed.kind == "compiled"


def test_what_was_not_wanted_for_longest_loses_its_graph(
    graphed: GraphedNetwork, captures: Captures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graphed_network, "MOST_GRAPHS", 2)
    for batch in (1, 1, 2, 2, 1, 3, 3):
        graphed(photos(batch))
    captures.captured.clear()
    for batch in (1, 3):
        graphed(photos(batch))
    assert captures.captured == []
    graphed(photos(2))
    assert captures.captured == [photos(2).shape]


def test_shapes_that_never_come_again_take_no_memory(
    graphed: GraphedNetwork, network: Doubling, captures: Captures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graphed_network, "_MOST_SEEN", 3)
    for side in range(1, 9):
        graphed(photos(1, side))
    # So long ago that it is forgotten: as if it came for the first time.
    graphed(photos(1, 1))
    assert captures.captured == []
    assert len(network.ran) == 9


def test_a_network_that_cannot_be_captured_stays_eager(network: Doubling, caplog: pytest.LogCaptureFixture) -> None:
    def refuse(network: Network, shape: Shape) -> Replay:  # noqa: ARG001 (a capture's)
        raise RuntimeError("operation not permitted when stream is capturing")

    graphed = GraphedNetwork(network, refuse)
    for _ in range(4):
        assert torch.equal(graphed(photos(1)), photos(1).float() * 2)
    assert graphed.kind == "eager"
    assert len(caplog.records) == 1
    assert "not permitted when stream is capturing" in caplog.text


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_replay_computes_what_the_network_does() -> None:
    network = Doubling()
    network.device = torch.device("cuda")
    graphed = GraphedNetwork(network, CudaCapture())
    for batch in (1, 1, 2, 2, 1):
        given = photos(batch).cuda()
        assert torch.equal(graphed(given), given.float() * 2)
    assert len(network.ran) == 4
