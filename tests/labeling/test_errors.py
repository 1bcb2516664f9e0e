"""The documentation names every code that a row in error may have."""

import re
from pathlib import Path

import labeling
from labeling.errors import IMAGE_ERROR_CODES
from service.errors import ServiceError

SOURCES = Path(labeling.__file__).parent
DOCUMENTED = (SOURCES.parent / "docs" / "batch.md").read_text(encoding="utf-8").partition("## Errors")[2]


def test_every_code_is_documented() -> None:
    raised = re.compile(r'(?:PhotoError|TransientError|RefusedError)\(\s*"([a-z-]+)"')
    codes = {code for path in SOURCES.rglob("*.py") for code in raised.findall(path.read_text(encoding="utf-8"))}
    assert {"killed-worker", "unreachable"} <= codes
    codes |= set(IMAGE_ERROR_CODES.values())
    # The service's answers that fail one photo, not the job.
    answers = {400, 408, 413, 415, 500, 502, 504}
    codes |= {error.cause for error in ServiceError.__subclasses__() if error.status in answers}
    assert {code for code in codes if f"`{code}`" not in DOCUMENTED} == set()
