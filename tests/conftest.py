"""What tests of several packages share: a small checkpoint and a small dataset."""

import atexit
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from numpy.typing import NDArray

from images import encode_label_map
from models import labelsets
from tests.photos import png

# Torch reads it when it is imported. Networks this small gain nothing from threads, and where other work keeps the
# cores busy, threads that wait for one another take ten times as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Where networks that tests compile are kept; servers in processes of their own find it too.
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="segserve-tests-")
atexit.register(shutil.rmtree, os.environ["XDG_CACHE_HOME"], ignore_errors=True)
# Label upsampling takes seconds to compile: unlike those networks it is kept from run to run.
os.environ.setdefault("NUMBA_CACHE_DIR", str(Path(__file__).parent.parent / ".pytest_cache" / "numba"))

# How long an example takes says how busy the machine is.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

# Tests of what runs in processes, with timeouts and signals, go one after the other; beside them those that compute.
ONE_BY_ONE = ("docker", "k8s", "labeling", "loadtests", "service", "worker")

VOID = 11  # camvid11's own value for a pixel without a label


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.relative_to(Path(__file__).parent).parts[0] in ONE_BY_ONE:
            item.add_marker(pytest.mark.xdist_group("one by one"))


@pytest.fixture(autouse=True)
def same_random_weights() -> Iterator[None]:
    """In every run, whichever tests ran before: with some weights a small network has nothing but zeros to say."""
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture(scope="session")
def checkpoint_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one model, tiny@1: eseg-lite-s for camvid11, always the same random weights, long side 160."""
    # Tests that need no network do without torch.
    import torch

    from models.weights.card import Card, Preprocessing
    from models.weights.checkpoint import save
    from models.zoo.registry import build

    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build("eseg-lite-s", 11)
    card = Card(
        name="tiny",
        version=1,
        architecture="eseg-lite-s",
        label_set="camvid11",
        num_classes=11,
        input_size=(120, 160),
        preprocessing=Preprocessing(long_side=160),
        licence="Free for tests",
        data="Nothing: random weights",
        scores={"val_miou": 0.01},
    )
    folder = tmp_path_factory.mktemp("checkpoints")
    save(network, card, folder / "tiny@1.safetensors")
    return folder


@pytest.fixture(scope="session")
def dataset_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A camvid11 dataset of 48 x 64 photos in their classes' colours: train (a-0, a-1, b-0, b-1) and val (c-0, c-1)."""
    folder = tmp_path_factory.mktemp("dataset")
    random = np.random.default_rng(0)
    for name in ("train/a-0", "train/a-1", "train/b-0", "train/b-1", "val/c-0", "val/c-1"):
        split, _, stem = name.partition("/")
        labels = _scene(random)
        noise = random.integers(-3, 4, (*labels.shape, 3))
        photo = np.clip(in_colours(labels) + noise, 0, 255).astype(np.uint8)
        for kind, data in (("images", png(photo)), ("labels", _label_file(labels))):
            path = folder / split / kind / f"{stem}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    return folder


def in_colours(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """camvid11 labels as a photo, H x W x 3: every pixel in the colour of its class, black where it has none."""
    palette = np.frombuffer(labelsets.load("camvid11").palette, np.uint8).reshape(256, 3)
    return palette[labels]


def _scene(random: np.random.Generator) -> NDArray[np.uint8]:
    """Sky, a building, road and a car at a place of its own; a strip at the bottom without labels."""
    labels = np.zeros((48, 64), np.uint8)
    labels[24:] = 3
    left = int(random.integers(0, 30))
    labels[8:24, left : left + 24] = 1
    left = int(random.integers(0, 40))
    labels[28:38, left : left + 20] = 8
    labels[46:] = VOID
    return labels


def _label_file(labels: NDArray[np.uint8]) -> bytes:
    return encode_label_map(labels, labelsets.load("camvid11").palette)
