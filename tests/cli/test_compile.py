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


def test_mistakes_are_told_in_a_sentence(checkpoint_dir: Path, tmp_path: Path) -> None:
    result = compile(checkpoint_dir, tmp_path, "none")
    assert (result.exit_code, result.stderr.startswith("Error: there are no weights for model 'none'")) == (1, True)
