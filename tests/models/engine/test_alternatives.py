from pathlib import Path

import pytest

from models.engine.alternatives import compare_alternatives
from models.engine.benchmark import PlainPyTorch
from models.engine.loading import find, load_engine, load_network
from tests.photos import street


def test_alternatives_label_as_plain_pytorch_does(checkpoint_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Without a compiler, which torch.compile would keep busy for a minute.
    monkeypatch.setenv("PATH", "")
    checkpoint = find("tiny", checkpoint_dir)
    plain = PlainPyTorch(load_network(checkpoint), checkpoint.card.preprocessing, long_side=96)
    measured = compare_alternatives(load_engine(checkpoint), plain, [street(64, 96, seed) for seed in range(2)], 1)
    assert "torch_compile_ms" not in measured
    for name in ("openvino", "engine_beside"):
        assert measured[f"{name}_ms"] > 0
    # Random weights leave many near ties between float32 and bfloat16.
    assert measured["openvino_agreement"] > 0.9
