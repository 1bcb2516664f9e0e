from pathlib import Path

import pytest

from tests.models.training.runs import four_steps, start


@pytest.fixture(scope="package")
def straight(dataset_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of four steps, two epochs, that nothing interrupted."""
    out = tmp_path_factory.mktemp("straight") / "run"
    start(four_steps(), dataset_dir, out, validate_every=1).train()
    return out
