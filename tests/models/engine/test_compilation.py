"""Graphs compute what their networks do, at any size; the cache holds whole ones alone."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import openvino
import pytest
import torch
from torch import Tensor, nn

from models.engine.compilation import CompilationError, make_graph
from models.engine.compiled_network import CompiledNetwork
from models.weights.card import Preprocessing
from models.zoo.registry import build

PREPROCESSING = Preprocessing(long_side=96)


def normalised(photos: Tensor) -> Tensor:
    mean, std = torch.tensor(PREPROCESSING.mean), torch.tensor(PREPROCESSING.std)
    return ((photos / 255 - mean) / std).permute(0, 3, 1, 2)


class Halves(nn.Module):
    """A convolution; its result depends on the size at which it was traced."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, photo: Tensor) -> Tensor:
        logits: Tensor = self.layer(photo)
        return logits if photo.shape[2] == 64 else logits * 2


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


# All with `make prove-compilation`.
NAMES = os.environ.get("COMPILED", "eseg-lite-s mobile-spinenet-s49-minus").split()


@pytest.mark.parametrize("name", NAMES)
def test_networks_compute_the_same_compiled_at_any_size_and_batch(name: str, tmp_path: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = build(name, 7).eval()
    make_graph(module, PREPROCESSING, tmp_path / "x" / "graph.xml")
    network = CompiledNetwork(tmp_path / "x" / "graph.xml", dtype=torch.float32)
    # Small ones after large ones: what is left in a buffer is no answer.
    for shape in ((2, 64, 160, 3), (1, 37, 53, 3), (3, 33, 1, 3), (1, 1, 1, 3), (2, 64, 160, 3)):
        photos = torch.randint(256, shape, dtype=torch.uint8)
        expected = module(normalised(photos))
        # Untrained logits may be in the ten thousands.
        assert (network(photos) - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_fusion_weights_are_constants_where_it_runs(tmp_path: Path) -> None:
    """Nothing is computed of weights alone, such as their softmax: they are but laid out anew, when it is loaded."""
    make_graph(build("eseg-lite-s", 7), PREPROCESSING, tmp_path / "x" / "graph.xml")
    running = openvino.Core().compile_model(tmp_path / "x" / "graph.xml", "CPU").get_runtime_model()
    of_the_photo: set[str] = set()
    of_weights: set[str] = set()
    for node in running.get_ordered_ops():
        inputs = {value.get_source_output().get_node().get_friendly_name() for value in node.inputs()}
        if node.get_type_name() == "Parameter" or of_the_photo & inputs:
            of_the_photo.add(node.get_friendly_name())
        else:
            of_weights.add(node.get_rt_info()["layerType"].value)
    assert of_weights <= {"Const", "Reorder", "Reshape"}
    assert len(of_the_photo) > 100


def test_bfloat16_gives_nearly_the_same_logits(tmp_path: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = build("eseg-lite-s", 7).eval()
    make_graph(module, PREPROCESSING, tmp_path / "x" / "graph.xml")
    network = CompiledNetwork(tmp_path / "x" / "graph.xml", dtype=torch.bfloat16)
    photos = torch.randint(256, (1, 64, 96, 3), dtype=torch.uint8)
    expected, found = module(normalised(photos)), network(photos)
    assert (found - expected).norm() / expected.norm() < 0.05


def test_a_graph_that_computes_something_else_is_refused_and_not_kept(tmp_path: Path) -> None:
    with pytest.raises(CompilationError, match=r"not compute what the network does at \(1, 37, 53, 3\)"):
        make_graph(Halves(), PREPROCESSING, tmp_path / "x" / "graph.xml")
    assert list(tmp_path.iterdir()) == []


def test_making_the_same_graph_at_once_leaves_one_whole_graph(tmp_path: Path) -> None:
    path = tmp_path / "x" / "graph.xml"
    module = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1))
    with ThreadPoolExecutor(1) as other:
        first = other.submit(make_graph, module, PREPROCESSING, path)
        first.result()
        make_graph(module, PREPROCESSING, path)
    assert [p.name for p in tmp_path.iterdir()] == ["x"]
    assert CompiledNetwork(path, dtype=torch.float32)(torch.zeros(1, 8, 8, 3, dtype=torch.uint8)).shape == (1, 4, 8, 8)


def test_compiling_and_running_open_no_connection(checkpoint_dir: Path, tmp_path: Path) -> None:
    """OpenVINO brings telemetry, which must stay unused."""
    program = f"""
import socket, sys
def refuse(*arguments):
    raise AssertionError("a connection")
socket.socket.connect = socket.getaddrinfo = refuse
from pathlib import Path
from models.engine.loading import find, load_engine
engine = load_engine(find("tiny", Path({str(checkpoint_dir)!r})), cache_dir=Path({str(tmp_path)!r}))
assert engine.network.kind == "compiled"
assert not [m for m in sys.modules if m.startswith("requests")]
"""
    subprocess.run([sys.executable, "-c", program], check=True)
