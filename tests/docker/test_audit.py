""".ci/audit, with programs in the place of the two that need the network."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

AUDIT = Path(__file__).parents[2] / ".ci" / "audit"
HOLE = {"dependencies": [{"name": "torch", "vulns": [{"id": "CVE-1"}]}, {"name": "segserve"}]}
NONE = {"dependencies": [{"name": "torch", "vulns": []}]}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """With what an older run left: a hole."""
    for folder in (".ci", ".venv-audit/bin", "build"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(AUDIT, tmp_path / ".ci")
    (tmp_path / ".venv-audit/bin/python").symlink_to(sys.executable)
    _program(tmp_path / ".venv-audit/bin/cyclonedx-py", "echo '{\"components\": [1, 2]}' > build/sbom.json")
    (tmp_path / "build/audit.json").write_text(json.dumps(HOLE))
    return tmp_path


def _program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def audit(repository: Path, pip_audit: str) -> subprocess.CompletedProcess[str]:
    _program(repository / ".venv-audit/bin/pip-audit", pip_audit)
    return subprocess.run([repository / ".ci/audit"], capture_output=True, text=True)


def test_what_is_found_is_told_and_fails(repository: Path) -> None:
    found = audit(repository, f"echo '{json.dumps(HOLE)}' > build/audit.json; exit 1")
    assert found.returncode == 1
    assert "torch: CVE-1" in found.stdout
    assert "lists 2 components; 1 of 2 packages could be audited" in found.stdout


def test_what_is_inside_is_listed(repository: Path) -> None:
    """Whether the advisories can be reached or not."""
    (repository / "build/sbom.json").write_text("an older list")
    audit(repository, "exit 1")
    assert len(json.loads((repository / "build/sbom.json").read_text())["components"]) == 2


def test_no_holes_are_fine(repository: Path) -> None:
    assert audit(repository, f"echo '{json.dumps(NONE)}' > build/audit.json").returncode == 0


def test_an_older_answer_does_not_count(repository: Path) -> None:
    unreachable = audit(repository, "echo 'no network' >&2; exit 1")
    assert unreachable.returncode == 0
    assert "CVE-1" not in unreachable.stdout
    assert "the advisories could not be reached: nothing is known" in unreachable.stdout
