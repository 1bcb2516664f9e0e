"""The recording and alerting rules, by Prometheus' own tests and as the documentation has them."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.k8s.manifests import K8S
from tests.programs import promtool

RULES = K8S / "monitoring" / "prometheus-rule.yaml"
UNIT_TESTS = Path(__file__).with_name("rules_test.yaml")
RUNBOOKS = K8S.parent / "docs" / "runbooks"

SPEC: dict[str, Any] = yaml.safe_load(RULES.read_text(encoding="utf-8"))["spec"]
ALERTS: dict[str, dict[str, Any]] = {
    rule["alert"]: rule for group in SPEC["groups"] for rule in group["rules"] if "alert" in rule
}


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """As a plain file of Prometheus', beside its unit tests."""
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump(SPEC), encoding="utf-8")
    shutil.copy(UNIT_TESTS, tmp_path)
    return path


def test_prometheus_takes_them(rules: Path) -> None:
    subprocess.run([promtool(), "check", "rules", "--lint-fatal", rules], check=True)


def test_they_say_what_they_should(rules: Path) -> None:
    tested = subprocess.run(
        [promtool(), "test", "rules", rules.with_name(UNIT_TESTS.name)], capture_output=True, text=True
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_each_alert_is_tested_firing_and_not() -> None:
    outcomes: dict[str, set[bool]] = {name: set() for name in ALERTS}
    for test in yaml.safe_load(UNIT_TESTS.read_text(encoding="utf-8"))["tests"]:
        for case in test.get("alert_rule_test", []):
            outcomes[case["alertname"]].add(bool(case["exp_alerts"]))
    assert {name for name, seen in outcomes.items() if seen != {True, False}} == set()


def test_each_alert_has_a_runbook_page() -> None:
    assert {page.stem for page in RUNBOOKS.glob("Segserve*.md")} == set(ALERTS)
    for name, alert in ALERTS.items():
        assert alert["annotations"]["runbook"] == f"docs/runbooks/{name}.md"
        page = (RUNBOOKS / f"{name}.md").read_text(encoding="utf-8")
        assert page.startswith(f"# {name}\n")
        assert re.findall(r"^## (.+)$", page, re.MULTILINE) == ["What it means", "Find out", "What to do"]


def test_alerts_that_wake_somebody_are_few() -> None:
    assert {alert["labels"]["severity"] for alert in ALERTS.values()} == {"page", "ticket"}
    pages = {name for name, alert in ALERTS.items() if alert["labels"]["severity"] == "page"}
    assert len(pages) <= 4
