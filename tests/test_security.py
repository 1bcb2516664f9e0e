"""Each line of the threat model in docs/security.md names a test that there is."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SECTION = (ROOT / "docs" / "security.md").read_text(encoding="utf-8").partition("\n## Threats\n")[2]
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in SECTION.splitlines() if line.startswith("|")]


def test_the_table_has_three_columns_and_threats() -> None:
    assert ROWS[0] == ["Threat", "What stands against it", "Test"]
    assert len(ROWS) >= 22
    assert all(len(row) == 3 and all(row) for row in ROWS)


@pytest.mark.parametrize("row", ROWS[2:], ids=lambda row: str(row[0]))
def test_each_defence_is_tested(row: list[str]) -> None:
    named = re.fullmatch(r"`(tests/[\w/]+/test_\w+\.py)(?:::(test_\w+))?`", row[2])
    assert named, row[2]
    function = named[2] or r"test_\w+"
    text = (ROOT / named[1]).read_text(encoding="utf-8")
    assert re.search(rf"^(async )?def {function}\(", text, re.MULTILINE)
