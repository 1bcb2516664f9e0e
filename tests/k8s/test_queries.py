"""No query that ships or is advised asks for a metric or a label that nobody exports."""

import json
import re
from pathlib import Path

import pytest

from tests.k8s.exported import exported
from tests.k8s.manifests import K8S, of_kind, overlay
from tests.k8s.promql import grouped_by, selectors
from tests.k8s.test_rules import RUNBOOKS, SPEC

EXPORTED = exported()
TARGET = {"namespace", "job", "instance", "scale_to_zero"}
"""Labels that Prometheus gives every series of ours; the last by overlays/batch."""
RULES = {rule.get("record") or rule["alert"]: rule for group in SPEC["groups"] for rule in group["rules"]}
RECORDED = {name: rule["expr"] for name, rule in RULES.items() if "record" in rule}


def labels_of(metric: str) -> set[str] | None:
    """None where there is no such metric. What a rule records has at most the labels that the rule groups by."""
    if metric in RECORDED:
        expression = RECORDED[metric]
        return grouped_by(expression) or set[str]().union(*(labels_of(s.metric) or () for s in selectors(expression)))
    return EXPORTED[metric] | TARGET if metric in EXPORTED else None


def mistakes(expression: str) -> list[str]:
    found, known = [], set[str]()
    for selector in selectors(expression):
        labels = labels_of(selector.metric)
        if labels is None:
            found.append(selector.metric)
        else:
            found += [f"{selector.metric}: {label}" for label in selector.labels - labels]
            known |= labels
    return found + sorted(grouped_by(expression) - known)


def shipped() -> dict[str, str]:
    queries = {name: rule["expr"] for name, rule in RULES.items()}
    dashboard = json.loads((K8S / "monitoring" / "dashboard.json").read_text(encoding="utf-8"))
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            queries[f"panel {panel['id']} {target['refId']}"] = target["expr"].replace("$__rate_interval", "1m")
    for name in ("keda", "batch"):
        for scaled in of_kind(overlay(name), "ScaledObject"):
            for number, trigger in enumerate(scaled["spec"]["triggers"]):
                if trigger["type"] == "prometheus":
                    queries[f"{name} {scaled['metadata']['name']} {number}"] = trigger["metadata"]["query"]
    return queries


def advised() -> dict[str, str]:
    """What stands as code in the runbooks and indented in docs/metrics.md."""
    pages = {page: re.findall(r"`([^`]*segserve[_:][^`]*)`", _text(page)) for page in RUNBOOKS.glob("*.md")}
    metrics = RUNBOOKS.with_name("metrics.md")
    pages[metrics] = re.findall(r"^    ([^#].*segserve_.*)$", _text(metrics), re.MULTILINE)
    return {f"{page.stem} {number}": query for page, found in pages.items() for number, query in enumerate(found)}


def _text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "expression"), (shipped() | advised()).items(), ids=str)
def test_what_is_asked_for_is_exported(name: str, expression: str) -> None:
    assert selectors(expression), name
    assert mistakes(expression) == []


@pytest.mark.parametrize("name", [name for name, rule in RULES.items() if "annotations" in rule])
def test_what_an_alert_tells_of_is_known(name: str) -> None:
    told = set(re.findall(r"\$labels\.(\w+)", RULES[name]["annotations"]["description"]))
    assert told <= grouped_by(RULES[name]["expr"]) | {"namespace"}


@pytest.mark.parametrize(
    ("expression", "mistake"),
    [
        ("rate(segserve_refusd_total[5m])", "segserve_refusd_total"),
        ("segserve_stage_seconds > 1", "segserve_stage_seconds"),
        ("segserve:devices_demnded", "segserve:devices_demnded"),
        ('sum(rate(segserve_refused_total{raeson="memory"}[5m]))', "segserve_refused_total: raeson"),
        ('segserve:devices{model="a"}', "segserve:devices: model"),
        ("sum by (namespace, modl) (segserve_capacity_pixels_per_second)", "modl"),
        ("segserve_ready and on (instnce) segserve_devices", "instnce"),
    ],
)
def test_a_misspelt_name_is_found(expression: str, mistake: str) -> None:
    assert mistakes(expression) == [mistake]
