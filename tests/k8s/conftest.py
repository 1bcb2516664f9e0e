from pathlib import Path

import pytest

from tests.k8s.composed import COMPONENTS, composed
from tests.k8s.manifests import OVERLAYS, Manifest, overlay


@pytest.fixture(params=[*OVERLAYS, *COMPONENTS])
def manifests(request: pytest.FixtureRequest, tmp_path: Path) -> list[Manifest]:
    return composed(tmp_path, request.param) if request.param in COMPONENTS else overlay(request.param)
