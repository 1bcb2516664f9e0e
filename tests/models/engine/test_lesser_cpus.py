"""Labels are right, too, on a CPU without AVX-512, from a graph that was made on this one."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from models.engine.engine import Engine
from models.engine.loading import find, load_engine, load_network
from models.engine.network import EagerNetwork
from tests.photos import street

LESSER = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
PROGRAM = """
import sys
from pathlib import Path
import numpy, torch
from models.engine.loading import find, load_engine
from tests.photos import street
assert torch.backends.cpu.get_cpu_capability() == "AVX2"
engine = load_engine(find("tiny", Path(sys.argv[1])), cache_dir=Path(sys.argv[2]))
assert engine.network.kind == sys.argv[4], engine.network.kind
numpy.save(sys.argv[3], engine.run([street(120, 160)])[0].labels)
"""


@pytest.mark.parametrize("kind", ["compiled", "eager"])
def test_labels_are_right_without_avx512(kind: str, checkpoint_dir: Path, tmp_path: Path) -> None:
    checkpoint, cache = find("tiny", checkpoint_dir), tmp_path / "cache"
    if kind == "compiled":
        load_engine(checkpoint, cache_dir=cache)
    else:
        cache.write_text("a file, in which no graph can be kept")
    labels = tmp_path / "labels.npy"
    command = [sys.executable, "-c", PROGRAM, str(checkpoint_dir), str(cache), str(labels), kind]
    subprocess.run(command, check=True, env=os.environ | LESSER)
    exact = Engine(
        EagerNetwork(load_network(checkpoint), checkpoint.card.preprocessing, dtype=torch.float32),
        checkpoint.card.preprocessing,
    )
    [expected] = exact.run([street(120, 160)])
    # Random weights leave many near ties.
    assert np.mean(np.load(labels) == expected.labels) > 0.95
