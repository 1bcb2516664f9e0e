"""From a checkpoint on disk to an engine: all that a host of engines needs of the weights."""

import logging
from pathlib import Path

import torch
from torch import nn

from models.engine import label_upsampling_cpu
from models.engine.cache import discard, graph_path, prune, quantised_path
from models.engine.engine import Engine
from models.engine.graphed_network import CudaCapture, GraphedNetwork
from models.engine.network import EagerNetwork, Network
from models.engine.precision import default_device, multiplies_int8
from models.weights.checkpoint import Checkpoint, CheckpointError
from models.weights.library import UnknownModelError, find, library
from models.weights.quantised import read_quantised
from models.zoo.registry import UnknownArchitectureError, build

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "UnknownModelError",
    "compilable",
    "compile_checkpoint",
    "compiled",
    "find",
    "library",
    "load_engine",
    "load_network",
    "process_threads",
]
logger = logging.getLogger("segserve")
# Noise has larger edges than any photo.
_TRIED = (1, 256, 512, 3)


def load_engine(
    checkpoint: Checkpoint,
    *,
    device: torch.device | None = None,
    dtype: torch.dtype | None = None,
    cache_dir: Path | None = None,
    wait: bool = True,
) -> Engine:
    """The checkpoint's network, ready to run: compiled for a CPU, captured on a GPU.

    dtype: None for the fastest that counts: int8 on a CPU that multiplies it, if the checkpoint was quantised, or else
    the best floating type that holds its values; int8 itself is for quantised checkpoints on a CPU alone.
    The first time on a machine compiling takes some seconds; later the compiled network comes from `cache_dir`
    (None: SEGSERVE_CACHE_DIR or the user's cache). With wait=False that first engine is eager (see background.py), and
    a network that will not compile stays so; a log line says it. Raises CheckpointError, as `load_network` does.
    """
    device = device or default_device()
    network: Network | None = None
    if device.type == "cpu":
        network = compiled(checkpoint, dtype=dtype, cache_dir=cache_dir, make=wait)
    if network is None:
        network = _eager(checkpoint, device, None if dtype is torch.int8 else dtype)
    if device.type == "cuda":
        network = GraphedNetwork(network, CudaCapture())
        # Engines run in streams of their own, which do not wait for this one.
        torch.cuda.synchronize(device)
    return Engine(network, checkpoint.card.preprocessing)


def _eager(checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype | None) -> EagerNetwork:
    preprocessing = checkpoint.card.preprocessing
    network = EagerNetwork(load_network(checkpoint), preprocessing, device=device, dtype=dtype)
    if dtype is None and network.dtype is torch.float16 and not _finite(network):
        card = checkpoint.card
        logger.warning("%s@%s runs in float32: its values are too large for float16", card.name, card.version)
        return EagerNetwork(load_network(checkpoint), preprocessing, device=device, dtype=torch.float32)
    return network


@torch.inference_mode()
def _finite(network: Network) -> bool:
    photo = torch.randint(256, _TRIED, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return bool(network(photo.to(network.device)).isfinite().all())


def compilable(engine: Engine) -> bool:
    """Whether a compiled network could take the place of the engine's."""
    return engine.network.kind == "eager" and engine.network.device.type == "cpu"


def process_threads() -> int:
    """How many threads PyTorch has, and a compiled network may have; to be asked before any thread limits its own.

    A limit that one thread sets (see sharing.py) is also what threads that start later begin with.
    """
    return torch.get_num_threads()


def compiled(
    checkpoint: Checkpoint,
    *,
    dtype: torch.dtype | None = None,
    cache_dir: Path | None = None,
    make: bool = True,
    threads: int | None = None,
) -> Network | None:
    """The compiled network from the cache; what is not there, or is damaged, is made first (make=True) or None.

    threads: see CompiledNetwork. Also None, with a log line that says why, where the network cannot be compiled. Raises
    CheckpointError.
    """
    try:
        path = graph_path(checkpoint, cache_dir)
        if not make and not path.exists():
            return None
        try:
            return _open(path, dtype, threads)
        except RuntimeError:
            if not make:
                raise
            return _open(compile_checkpoint(checkpoint, cache_dir), dtype, threads)
    except CheckpointError:
        raise
    # OpenVINO, PyTorch and the file system fail in ways of their own; in all of them plain PyTorch still works.
    except Exception as error:
        card = checkpoint.card
        logger.warning("%s@%s runs on the eager engine, as it cannot be compiled: %s", card.name, card.version, error)
        return None


def _open(path: Path, dtype: torch.dtype | None, threads: int | None) -> Network:
    # Imported where it is needed: OpenVINO may be missing.
    from models.engine.compiled_network import CompiledNetwork

    if dtype is None and quantised_path(path).exists() and multiplies_int8():
        dtype = torch.int8
    return CompiledNetwork(quantised_path(path) if dtype is torch.int8 else path, dtype=dtype, threads=threads)


def compile_checkpoint(checkpoint: Checkpoint, cache_dir: Path | None = None) -> Path:
    """Make the checkpoint's graph (or graphs) unless the cache has it undamaged, and return where it is.

    Label upsampling, which every network needs, is compiled too unless the cache has it.
    Raises CheckpointError, and what `make_graph` raises.
    """
    from models.engine.compilation import loads, make_graph

    label_upsampling_cpu.compile_ahead()
    path = graph_path(checkpoint, cache_dir)
    if path.parent.exists() and not loads(path):
        logger.warning("%s is damaged, and made again", path.parent)
        discard(path)
    if not path.exists():
        make_graph(load_network(checkpoint), checkpoint.card.preprocessing, path, read_quantised(checkpoint))
        prune(path)
    return path


def load_network(checkpoint: Checkpoint) -> nn.Module:
    """The network in float32 on the CPU, as it was trained.

    Raises CheckpointError if there is no such architecture as the checkpoint names, or its weights do not fit it.
    """
    card = checkpoint.card
    try:
        with torch.device("meta"):
            network = build(card.architecture, card.num_classes, card.options)
    except UnknownArchitectureError as error:
        raise CheckpointError(f"{checkpoint.path}: {error}") from error
    checkpoint.load_into(network)
    return network
