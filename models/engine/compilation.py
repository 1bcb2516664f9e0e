"""Networks to OpenVINO graphs, each made once a machine and kept in a cache.

A graph takes any batch and input size and holds no machine code: one a checkpoint is enough, whatever the CPU. The int8
graph that a checkpoint may bring (see quantisation.py) lies beside it, for CPUs that profit.
"""

import logging
import warnings
from pathlib import Path

import openvino
import torch
from openvino.frontend import FrontEndManager
from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
from torch import Tensor, nn
from torch.jit._trace import TracerWarning

from models.engine.batch_norm_folding import fold_batch_norm
from models.engine.cache import quantised_path, unfinished
from models.engine.compiled_network import CompiledNetwork
from models.engine.normalisation import Normalised
from models.weights.card import Preprocessing
from models.weights.quantised import QuantisedGraph

# Any size does, and a small one is quick.
_TRACED = (1, 3, 64, 96)
# What depends on a size is most likely to go wrong at odd ones.
_CHECKED = ((1, 37, 53, 3), (2, 96, 160, 3), (1, 1, 1, 3))
# Of the logits' norm; in float32, where only the order of sums differs.
_TOLERANCE = 1e-3
# In int8 that of the shipped model is 0.03 off, and 0.26 where only the norms' epsilon is another.
_QUANTISED_CHECKED = (1, 192, 288, 3)
QUANTISED_TOLERANCE = 0.1

logger = logging.getLogger("segserve")


class CompilationError(Exception):
    """A graph that does not compute what its network does."""


def make_graph(
    module: nn.Module, preprocessing: Preprocessing, path: Path, quantised: QuantisedGraph | None = None
) -> None:
    """Write the graph of `module` (float32, on the CPU; taken over) to `path`, whole or not at all.

    It takes pixels, 0..255, and normalises them as `preprocessing` says. A quantised graph is laid beside it, unless,
    which a log line says, it was made of code that computed something else.

    Raises CompilationError if its logits are not those of the module, OSError, and whatever PyTorch and OpenVINO raise.
    Processes that make the same graph at once do not disturb each other.
    """
    network = Normalised(fold_batch_norm(module.eval()), preprocessing, torch.float32)
    with unfinished(path) as folder:
        graph = Path(folder) / path.parent.name / path.name
        graph.parent.mkdir()
        openvino.serialize(convert_normalised(network), graph)
        _check(network, graph)
        if quantised:
            _add_quantised(network, graph, quantised)
        try:
            graph.parent.rename(path.parent)
        except OSError:
            # Another process may have been first.
            if not path.exists():
                raise


def loads(path: Path) -> bool:
    """Whether OpenVINO takes the graph at `path`, and the int8 graph if there is one."""
    try:
        CompiledNetwork(path, dtype=torch.float32)
        if quantised_path(path).exists():
            CompiledNetwork(quantised_path(path), dtype=torch.int8)
    except RuntimeError:
        return False
    return True


def convert_normalised(network: Normalised) -> openvino.Model:
    """The graph of `network` for any batch and size."""
    model = convert(network, torch.zeros(_TRACED))
    model.reshape([-1, 3, -1, -1])
    return model


@torch.inference_mode()
def convert(module: nn.Module, example: Tensor) -> openvino.Model:
    """The graph of `module` (in eval mode) for inputs of the example's size; `make_graph` says what it raises."""
    with warnings.catch_warnings():
        # Loops over a fixed number of levels are meant. PyTorch would rather export, but an export is for few sizes.
        warnings.simplefilter("ignore", TracerWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        decoder = TorchScriptPythonDecoder(module, example_input=example)
    # openvino.convert_model does the same, and reports to its makers over the network.
    frontend = FrontEndManager().load_by_framework("pytorch")
    model: openvino.Model = frontend.convert(frontend.load(decoder))
    model.reshape(list(example.shape))
    return model


@torch.inference_mode()
def is_quantised_of(module: nn.Module, graph: Path) -> bool:
    """Whether the int8 graph computes what `module` (as in `make_graph`, normalised) does, but for rounding.

    Raises RuntimeError where OpenVINO does not take the graph.
    """
    network = CompiledNetwork(graph, dtype=torch.int8)
    return _agrees(network, module, _QUANTISED_CHECKED, QUANTISED_TOLERANCE)


@torch.inference_mode()
def _check(module: nn.Module, graph: Path) -> None:
    network = CompiledNetwork(graph, dtype=torch.float32)
    for shape in _CHECKED:
        if not _agrees(network, module, shape, _TOLERANCE):
            raise CompilationError(f"the compiled network does not compute what the network does at {shape}")


def _add_quantised(module: nn.Module, graph: Path, quantised: QuantisedGraph) -> None:
    xml = quantised_path(graph)
    xml.write_bytes(quantised.xml)
    xml.with_suffix(".bin").write_bytes(quantised.bin)
    try:
        current = is_quantised_of(module, xml)
    except RuntimeError:  # Another OpenVINO wrote it.
        current = False
    if not current:
        logger.warning(
            "%s goes without int8: its graph is not that of the network as it is now; "
            "make it again with `segserve quantise`",
            graph.parent.name,
        )
        xml.unlink()
        xml.with_suffix(".bin").unlink()


def _agrees(network: CompiledNetwork, module: nn.Module, shape: tuple[int, int, int, int], tolerance: float) -> bool:
    """Whether their logits of noise differ by at most `tolerance` of their norm."""
    photos = torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    expected, found = module(photos.permute(0, 3, 1, 2)), network(photos)
    return found.shape == expected.shape and bool((found - expected).norm() <= tolerance * expected.norm())
