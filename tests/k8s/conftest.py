from pathlib import Path

import pytest

from tests.k8s.manifests import OVERLAYS, Manifest, overlay
from tests.k8s.public import public_overlay


@pytest.fixture(params=[*OVERLAYS, "public"])
def manifests(request: pytest.FixtureRequest, tmp_path: Path) -> list[Manifest]:
    return public_overlay(tmp_path) if request.param == "public" else overlay(request.param)
