import json
from pathlib import Path

from loadtests.medians import medians
from loadtests.report import plot_bars, table, write_json


def test_medians_keep_the_structure() -> None:
    repeats = [{"a": [1, {"b": 5.0}], "name": "x"}, {"a": [3, {"b": 1.0}], "name": "x"}, {"a": [2, {"b": 3.0}]}]
    assert medians(repeats) == {"a": [2, {"b": 3.0}], "name": "x"}


def test_a_median_ignores_repeats_without_a_value() -> None:
    assert medians([{"a": None}, {"a": 4}, {"a": 2}]) == {"a": 3}
    assert medians([{"a": None}]) == {"a": None}


def test_a_table_is_markdown() -> None:
    assert table(("what", "how much"), [("x", 1.2345), ("long name", None), ("y", 1234.5)]).splitlines() == [
        "| what      | how much |",
        "| --------- | -------- |",
        "| x         | 1.23     |",
        "| long name | -        |",
        "| y         | 1234     |",
    ]


def test_a_report_is_json_and_pictures(tmp_path: Path) -> None:
    write_json(tmp_path / "r.json", {"answer": 42})
    assert json.loads((tmp_path / "r.json").read_text())["answer"] == 42
    plot_bars(tmp_path / "r.png", {"speed": {"a": 1.0, "b": None}})
    assert (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")
