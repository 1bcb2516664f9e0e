import json
from pathlib import Path

from click.testing import CliRunner, Result

from cli.main import main


def bench(checkpoint_dir: Path, *arguments: str) -> Result:
    runner = CliRunner(env={"SEGSERVE_MODEL": "tiny", "SEGSERVE_MODEL_DIR": str(checkpoint_dir)})
    return runner.invoke(main, ["bench", "engine", "--rounds", "1", *arguments])


def test_json_stands_alone_on_stdout(checkpoint_dir: Path) -> None:
    result = bench(checkpoint_dir, "--size", "64x96", "--batch", "2", "--json")
    assert result.exit_code == 0, result.output
    measured = json.loads(result.stdout)
    assert (measured["model"], measured["size"], measured["batch"]) == ("tiny", [64, 96], 2)
    assert measured["speedup"] > 0
    # Random weights leave many near ties between float32 and bfloat16.
    assert measured["label_agreement"] > 0.9


def test_people_get_a_sentence(checkpoint_dir: Path) -> None:
    result = bench(checkpoint_dir, "--size", "64x96")
    assert result.stdout.startswith("tiny, 1 x 64x96, medians of 1: plain PyTorch ")


def test_a_size_that_is_none_is_a_usage_error(checkpoint_dir: Path) -> None:
    result = bench(checkpoint_dir, "--size", "large")
    assert result.exit_code == 2
    assert "'large' is not HxW, such as 1024x2048" in result.stderr
