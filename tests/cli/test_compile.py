from pathlib import Path

from click.testing import CliRunner, Result

from cli.main import main
from models.engine.compilation import graph_path
from models.engine.loading import find


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


def test_mistakes_are_told_in_a_sentence(checkpoint_dir: Path, tmp_path: Path) -> None:
    result = compile(checkpoint_dir, tmp_path, "none")
    assert (result.exit_code, result.stderr.startswith("Error: there are no weights for model 'none'")) == (1, True)
