"""Cross-origin requests: which other sites' pages may ask from a browser. None, unless the settings name some."""

from collections.abc import Sequence

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

_REQUEST_HEADERS = ("Accept", "Authorization", "Content-Type", "X-API-Key", "X-Priority", "X-Request-Id")
_ANSWER_HEADERS = ("Retry-After", "Server-Timing", "X-Label-Set", "X-Model", "X-Request-Id")


def allow_origins(app: FastAPI, origins: Sequence[str]) -> None:
    """Let pages of these origins call `app`, with an API key but without cookies."""
    app.add_middleware(
        CORSMiddleware,
        allow_origins=[origin.strip() for origin in origins],
        allow_methods=("GET", "POST"),
        allow_headers=_REQUEST_HEADERS,
        expose_headers=_ANSWER_HEADERS,
    )
