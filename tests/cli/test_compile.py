import os
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner, Result

from cli.main import main
from models.engine.cache import graph_path
from models.engine.loading import find, load_engine


def compile(checkpoint_dir: Path, cache_dir: Path, model: str = "tiny") -> Result:
    runner = CliRunner(env={"SEGSERVE_MODEL_DIR": str(checkpoint_dir), "SEGSERVE_CACHE_DIR": str(cache_dir)})
    return runner.invoke(main, ["compile", "--model", model])


def test_the_graph_lies_where_an_engine_looks_for_it(checkpoint_dir: Path, tmp_path: Path) -> None:
    result = compile(checkpoint_dir, tmp_path)
    assert result.exit_code == 0, result.output
    path = graph_path(find("tiny", checkpoint_dir), tmp_path)
    assert path.exists()
    assert result.stdout.startswith(f"{path} (")
    made = path.stat().st_mtime_ns
    assert compile(checkpoint_dir, tmp_path).exit_code == 0
    assert path.stat().st_mtime_ns == made


def test_a_damaged_graph_is_made_again(checkpoint_dir: Path, tmp_path: Path) -> None:
    assert compile(checkpoint_dir, tmp_path).exit_code == 0
    checkpoint = find("tiny", checkpoint_dir)
    weights = graph_path(checkpoint, tmp_path).with_suffix(".bin")
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    assert load_engine(checkpoint, cache_dir=tmp_path, wait=False).network.kind == "eager"
    assert compile(checkpoint_dir, tmp_path).exit_code == 0
    assert weights.read_bytes() == whole
    assert load_engine(checkpoint, cache_dir=tmp_path, wait=False).network.kind == "compiled"


LABEL = """
import sys
from pathlib import Path
from models.engine.loading import find, load_engine
from tests.photos import street
engine = load_engine(find("tiny", Path(sys.argv[1])))
for confidence in (False, True):
    engine.run([street(60, 80)], confidence=confidence)
"""


def test_label_upsampling_is_compiled_too_and_a_second_process_finds_it(checkpoint_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "numba"
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    environment |= {"NUMBA_DEBUG_CACHE": "1", "NUMBA_OPT": "0"}

    def told(*program: str, **others: str) -> list[str]:
        """What numba says of its cache."""
        done = subprocess.run(
            [sys.executable, *program], env=environment | others, capture_output=True, text=True, check=True
        )
        return [line for line in done.stdout.splitlines() if line.startswith("[cache] data ")]

    model = ("--model", "tiny", "--model-dir", str(checkpoint_dir))
    elsewhere = str(tmp_path / "elsewhere")
    first = told("-m", "cli", "compile", *model, "--cache-dir", str(tmp_path), SEGSERVE_CACHE_DIR=elsewhere)
    assert first
    assert all(line.startswith(f"[cache] data saved to '{folder}") for line in first)
    second = told("-c", LABEL, str(checkpoint_dir), SEGSERVE_CACHE_DIR=str(tmp_path))
    assert second
    assert all(line.startswith(f"[cache] data loaded from '{folder}") for line in second)


def test_numbas_own_setting_of_its_cache_is_heeded(tmp_path: Path) -> None:
    environment = os.environ | {"SEGSERVE_CACHE_DIR": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path / "of-numba")}
    program = "import models.engine.label_upsampling_cpu, numba; print(numba.config.CACHE_DIR)"
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == f"{tmp_path / 'of-numba'}\n"


def test_mistakes_are_told_in_a_sentence(checkpoint_dir: Path, tmp_path: Path) -> None:
    result = compile(checkpoint_dir, tmp_path, "none")
    assert (result.exit_code, result.stderr.startswith("Error: there are no weights for model 'none'")) == (1, True)
