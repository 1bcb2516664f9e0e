import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from models.engine import alternatives
from tests.photos import png, street


def bench(checkpoint_dir: Path, *arguments: str) -> Result:
    runner = CliRunner(env={"SEGSERVE_MODEL": "tiny", "SEGSERVE_MODEL_DIR": str(checkpoint_dir)})
    return runner.invoke(main, ["bench", "engine", "--alone", "--rounds", "1", *arguments])


def test_json_stands_alone_on_stdout(checkpoint_dir: Path) -> None:
    result = bench(checkpoint_dir, "--size", "64x96", "--batch", "2", "--json")
    assert result.exit_code == 0, result.output
    measured = json.loads(result.stdout)
    assert (measured["model"], measured["size"], measured["batch"]) == ("tiny", [64, 96], 2)
    assert measured["speedup"] > 0
    # Random weights leave many near ties between float32 and bfloat16.
    assert measured["label_agreement"] > 0.9
    assert (measured["engine"], measured["classes"]) == ("compiled", 11)
    assert measured["network_ms"] < measured["engine_ms"] * 5
    assert measured["network_share"] == pytest.approx(measured["network_tflops"] / measured["conv_peak_tflops"], rel=1)
    assert 0 < measured["boundary_cells"] <= 1
    for logits in ("", "random_"):
        assert measured[f"{logits}eager_upsample_ms"] > 0
        assert measured[f"{logits}upsample_ms"] > 0
        assert measured[f"{logits}upsample_agreement"] > 0.999


def test_a_photo_of_ones_own_is_measured_at_its_own_size(checkpoint_dir: Path, tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(png(street(40, 70)))
    result = bench(checkpoint_dir, "--photo", str(photo), "--json")
    assert json.loads(result.stdout)["size"] == [40, 70]


def test_a_photo_that_is_none_is_said_so(checkpoint_dir: Path, tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(b"no photo")
    result = bench(checkpoint_dir, "--photo", str(photo))
    assert result.exit_code == 1
    assert "not an image" in result.stderr


def test_an_alternative_that_is_not_installed_is_null_and_told(
    checkpoint_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No compiler, and neither package of the extra.
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(alternatives, "find_spec", lambda name: None if name.startswith("onnx") else name)
    small = ["--model", "tiny", "--model-dir", str(checkpoint_dir), "--size", "64x96", "--rounds", "1"]
    result = CliRunner().invoke(main, ["bench", "engine", *small, "--json"])
    assert result.exit_code == 0, result.output
    measured = json.loads(result.stdout)
    assert measured["openvino_ms"] > 0
    for name in ("onnxruntime", "torch_compile"):
        assert measured[f"{name}_ms"] is None
        assert measured[f"{name}_agreement"] is None
    assert "onnxruntime is left out, as it is not installed: pip install 'segserve[bench]'\n" in result.stderr
    assert "torch_compile is left out, as it is not installed: a C++ compiler, c++\n" in result.stderr


def test_people_get_a_sentence(checkpoint_dir: Path) -> None:
    result = bench(checkpoint_dir, "--size", "64x96")
    assert result.stdout.startswith("tiny, 1 x 64x96, medians of 1: plain PyTorch ")
    assert "\nnetwork, compiled, " in result.stdout
    assert "upsampling, 11 classes: interpolate and argmax " in result.stdout


def test_a_size_that_is_none_is_a_usage_error(checkpoint_dir: Path) -> None:
    result = bench(checkpoint_dir, "--size", "large")
    assert result.exit_code == 2
    assert "'large' is not HxW, such as 1024x2048" in result.stderr


def test_a_network_without_weights_is_measured_with_random_ones() -> None:
    runner = CliRunner()
    arguments = ["--alone", "--rounds", "1", "--model", "mobile-spinenet-s49-minus", "--size", "64x96", "--json"]
    result = runner.invoke(main, ["bench", "engine", *arguments])
    assert result.exit_code == 0, result.output
    assert "no weights for mobile-spinenet-s49-minus" in result.stderr
    figures = json.loads(result.stdout)
    assert (figures["model"], figures["classes"]) == ("mobile-spinenet-s49-minus", 19)
    assert figures["label_agreement"] > 0.5
