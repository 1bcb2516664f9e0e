"""What every error looks like (RFC 9457)."""

from http import HTTPStatus
from typing import Any

import httpx


def problem_of(response: httpx.Response, status: int, cause: str | None) -> dict[str, Any]:
    """The members of a problem, once they are as they must be. cause: None for what the status alone explains."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["x-request-id"]
    problem: dict[str, Any] = response.json()
    assert problem["type"] == (f"urn:segserve:problem:{cause}" if cause else "about:blank")
    assert problem["title"] == HTTPStatus(status).phrase
    assert problem["status"] == status
    # A sentence for people, from its capital (or the name of a parameter) to its full stop.
    assert problem["detail"].endswith(".")
    assert " " in problem["detail"]
    assert ("retry-after" in response.headers) == ("retry_after_ms" in problem) == (status in (429, 503))
    assert problem.keys() - {"retry_after_ms"} == {"type", "title", "status", "detail"}
    return problem
