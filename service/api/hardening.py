"""Headers of every answer that tell browsers what they must not do with it."""

from starlette.types import ASGIApp, Receive, Scope, Send

_NOTHING = "default-src 'none'; frame-ancestors 'none'"
# Swagger UI, as FastAPI's page loads it.
_SWAGGER = (
    "default-src 'none'; frame-ancestors 'none'; connect-src 'self'; img-src data: https://fastapi.tiangolo.com; "
    "script-src 'unsafe-inline' https://cdn.jsdelivr.net; style-src 'unsafe-inline' https://cdn.jsdelivr.net"
)
HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Hardening:
    """Pure ASGI middleware around the request's telemetry, which sends what stands in scope["state"]["headers"]."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            policy = _SWAGGER if scope["path"] == "/docs" else _NOTHING
            scope.setdefault("state", {})["headers"] = HEADERS | {"Content-Security-Policy": policy}
        await self.app(scope, receive, send)
