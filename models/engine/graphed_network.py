"""A network replayed from CUDA graphs, one for each shape of batch: the host says "go" once, not once a layer."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from models.engine.network import Kind, Network

# Each keeps an input of its own; what lies between input and logits is shared by all.
MOST_GRAPHS = 32
_MOST_SEEN = 1024
# PyTorch captures in one stream for the whole process.
_capturing = threading.Lock()

logger = logging.getLogger("segserve")
T = TypeVar("T")
Shape = tuple[int, ...]
Replay = Callable[[Tensor], Tensor]
Capture = Callable[[Network, Shape], Replay]


class GraphedNetwork:
    """An eager network on a GPU, captured. Shapes that came lately keep their graphs, MOST_GRAPHS at most.

    A shape that comes for the first time runs eagerly, which also makes what a capture must find made; only when it
    comes again is it captured, since a capture takes as long as many runs. A network that cannot be captured, one that
    waits for its own results say, stays eager; a log line says it.
    """

    def __init__(self, network: Network, capture: Capture) -> None:
        self.kind: Kind = "compiled"
        self.device, self.dtype = network.device, network.dtype
        self._network, self._capture = network, capture
        self._replays: OrderedDict[Shape, Replay] = OrderedDict()
        self._seen: OrderedDict[Shape, None] = OrderedDict()

    @torch.inference_mode()
    def __call__(self, photos: Tensor) -> Tensor:
        shape = tuple(photos.shape)
        replay = self._replays.pop(shape, None)
        if replay is None:
            if self.kind == "eager" or shape not in self._seen:
                _remember(self._seen, shape, None, _MOST_SEEN)
                return self._network(photos)
            try:
                replay = self._capture(self._network, shape)
            except RuntimeError as error:
                logger.warning("a network stays on the eager engine, as it cannot be captured: %s", error)
                self.kind = "eager"
                return self._network(photos)
        _remember(self._replays, shape, replay, MOST_GRAPHS)
        return replay(photos)


class CudaCapture:
    """Captures that share their memory: the logits of one are overwritten when another is replayed."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, network: Network, shape: Shape) -> Replay:
        photos = torch.zeros(shape, dtype=torch.uint8, device=network.device)
        graph = torch.cuda.CUDAGraph()
        # Another thread's engine may allocate memory meanwhile, on the same GPU.
        capturing = torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local")
        with _capturing, torch.cuda.device(network.device), capturing:
            logits = network(photos)

        def replay(given: Tensor) -> Tensor:
            photos.copy_(given, non_blocking=True)
            graph.replay()
            return logits

        return replay


def _remember(cache: OrderedDict[Shape, T], shape: Shape, value: T, most: int) -> None:
    """As the newest; the oldest goes when there are too many."""
    cache[shape] = value
    cache.move_to_end(shape)
    while len(cache) > most:
        cache.popitem(last=False)
