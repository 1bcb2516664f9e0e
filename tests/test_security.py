"""Each line of the threat model in docs/security.md names a test that there is."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROW = re.compile(r"^\| (?!Threat|---)(.+?) \| (.+?) \| `(.+?)` \|$", re.MULTILINE)
THREATS = ROW.findall((ROOT / "docs" / "security.md").read_text(encoding="utf-8"))


def test_there_are_threats() -> None:
    assert len(THREATS) >= 20


@pytest.mark.parametrize("named", sorted({test for _, _, test in THREATS}))
def test_each_defence_is_tested(named: str) -> None:
    path, _, function = named.partition("::")
    text = (ROOT / path).read_text(encoding="utf-8")
    if function:
        assert re.search(rf"^(async )?def {function}\(", text, re.MULTILINE)
