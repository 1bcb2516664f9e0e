from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from service.telemetry.metrics import Metrics

DOCUMENTATION = Path(__file__).parents[3] / "docs" / "metrics.md"
NOT_OURS = ("process_", "python_")


def names() -> list[str]:
    families = text_string_to_metric_families(Metrics().render().decode())
    return [family.name for family in families if not family.name.startswith(NOT_OURS)]


def test_all_names_are_ours() -> None:
    assert len(names()) >= 12
    assert all(name.startswith("segserve_") for name in names())


def test_all_are_listed_in_the_documentation() -> None:
    text = DOCUMENTATION.read_text(encoding="utf-8")
    assert [name for name in names() if f"`{name}" not in text] == []


def test_the_process_is_measured_too() -> None:
    rendered = Metrics().render().decode()
    assert "process_resident_memory_bytes" in rendered
    assert "python_gc_objects_collected_total" in rendered


def test_two_gateways_in_one_process_count_apart() -> None:
    first, second = Metrics(), Metrics()
    first.in_flight.inc()
    assert second.registry.get_sample_value("segserve_requests_in_flight") == 0
