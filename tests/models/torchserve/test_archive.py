import json
import os
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import main
from models.engine.loading import find
from models.torchserve.archive import write_archive


def test_the_same_checkpoint_gives_the_same_bytes(
    checkpoint_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_archive(find("tiny", checkpoint_dir), tmp_path / "one.mar")
    copy = tmp_path / "elsewhere" / "tiny@1.safetensors"
    copy.parent.mkdir()
    copy.write_bytes((checkpoint_dir / "tiny@1.safetensors").read_bytes())
    os.utime(copy, (0, 0))
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    write_archive(find("tiny", copy.parent), tmp_path / "two.mar")
    assert (tmp_path / "one.mar").read_bytes() == (tmp_path / "two.mar").read_bytes()


def test_it_holds_the_weights_and_names_a_handler_that_exists(checkpoint_dir: Path, tmp_path: Path) -> None:
    checkpoint = find("tiny", checkpoint_dir)
    write_archive(checkpoint, tmp_path / "tiny.mar")
    with zipfile.ZipFile(tmp_path / "tiny.mar") as archive:
        model = json.loads(archive.read("MAR-INF/MANIFEST.json"))["model"]
        assert (model["modelName"], model["modelVersion"]) == ("tiny", "1")
        assert archive.read(model["serializedFile"]) == checkpoint.path.read_bytes()
    assert Path(*model["handler"].split(".")).with_suffix(".py").is_file()


def test_the_command_writes_it_and_says_where(checkpoint_dir: Path, tmp_path: Path) -> None:
    arguments = ["archive", "--model", "tiny", "--model-dir", str(checkpoint_dir), "-o", str(tmp_path / "new")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert result.output.strip() == str(tmp_path / "new" / "tiny@1.mar")
    assert zipfile.is_zipfile(tmp_path / "new" / "tiny@1.mar")


def test_an_unknown_model_is_told_in_a_sentence(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["archive", "--model", "nobody", "-o", str(tmp_path)])
    assert result.exit_code == 1
    assert "no weights for model 'nobody'" in result.output
