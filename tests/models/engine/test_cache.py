"""Where graphs are kept: named by what they were made of, and gone when another has taken their place."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import models
from models.engine.cache import graph_path
from models.engine.loading import compile_checkpoint, find

DAY = 24 * 3600


def test_a_graphs_name_depends_on_the_weights(checkpoint_dir: Path, tmp_path: Path) -> None:
    checkpoint = find("tiny", checkpoint_dir)
    path = graph_path(checkpoint, tmp_path)
    assert path.parent.parent == tmp_path
    assert path.parent.name.startswith("tiny@1-")
    copied = tmp_path / "tiny@1.safetensors"
    copied.write_bytes(checkpoint.path.read_bytes())
    same = type(checkpoint).open(copied)
    assert graph_path(same, tmp_path) == path
    copied.write_bytes(copied.read_bytes()[:-1] + b"\x55")
    assert graph_path(type(checkpoint).open(copied), tmp_path) != path


def test_a_graphs_name_depends_on_the_code_that_shapes_it_and_on_no_other(checkpoint_dir: Path, tmp_path: Path) -> None:
    code = tmp_path / "models"
    shutil.copytree(Path(models.__file__).parent, code, ignore=shutil.ignore_patterns("*.safetensors", "*.zip"))
    program = (
        "import sys; from pathlib import Path; from models.engine.cache import graph_path; "
        "from models.weights.checkpoint import Checkpoint; print(graph_path(Checkpoint.open(Path(sys.argv[1]))))"
    )
    command = [sys.executable, "-c", program, str(checkpoint_dir / "tiny@1.safetensors")]

    def name() -> str:
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout

    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    before = name()
    for other in ("engine/benchmark.py", "engine/compiled_network.py", "training/loss.py"):
        (code / other).write_text((code / other).read_text() + "# changed\n")
    assert name() == before
    for shaping in ("engine/normalisation.py", "zoo/layers.py"):
        (code / shaping).write_text((code / shaping).read_text() + "# changed\n")
        assert name() != before
        before = name()


def test_what_a_new_graph_replaces_is_removed_after_a_day(checkpoint_dir: Path, tmp_path: Path) -> None:
    other_code, other_model = "tiny@1-0123456789abcdef", "tiny@12-0123456789abcdef"
    for name, age in {
        other_code: 2 * DAY,
        "tiny@1-fedcba9876543210": DAY / 2,
        other_model: 2 * DAY,
        "unfinished-killed": 2 * DAY,
        "unfinished-at-work": DAY / 2,
        "tiny@1-mine": 2 * DAY,
    }.items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / "graph.xml").write_text("")
        os.utime(folder, (time.time() - age,) * 2)
    path = compile_checkpoint(find("tiny", checkpoint_dir), tmp_path)
    left = {folder.name for folder in tmp_path.iterdir()}
    assert left == {path.parent.name, "tiny@1-fedcba9876543210", other_model, "unfinished-at-work", "tiny@1-mine"}
