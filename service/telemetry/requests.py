"""Around every request: its id, its metrics and its one log line."""

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.telemetry.metrics import Metrics
from service.telemetry.tracing import Trace, Tracing

logger = logging.getLogger("segserve.request")
# Asked every few seconds by machines: their log lines would bury the others.
PROBES = ("/livez", "/readyz", "/metrics")
_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
# What nginx logs for a client that hung up; there is no answer to take a status from.
CLIENT_CLOSED_REQUEST = 499


class RequestTelemetry:
    """Pure ASGI middleware.

    Routes may put their `model` into scope["state"] to have it counted and logged, and add to its `headers`, which go
    with whatever answer follows, errors included.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, tracing: Tracing | None, leaving: Callable[[], bool]) -> None:
        """leaving: whether every answer is to close its connection, so that the next request finds another instance."""
        self.app, self.metrics, self.tracing, self.leaving = app, metrics, tracing, leaving

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if self.tracing is None or scope["path"] in PROBES:
            await self._handle(scope, receive, send, headers, None)
            return
        with self.tracing.request(scope["method"], headers) as trace:
            await self._handle(scope, receive, send, headers, trace)

    async def _handle(self, scope: Scope, receive: Receive, send: Send, headers: Headers, trace: Trace | None) -> None:
        started = time.perf_counter()
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        state = scope.setdefault("state", {})
        state["request_id"], state["trace"] = request_id, trace
        state.setdefault("headers", {})["X-Request-Id"] = request_id
        status = CLIENT_CLOSED_REQUEST
        # After a final answer nobody knows whether a body will follow that waits for consent: only closing is safe.
        body_awaits_consent = "expect" in headers
        bytes_in = bytes_out = 0

        async def receive_body() -> Message:
            nonlocal body_awaits_consent, bytes_in
            body_awaits_consent = False
            message = await receive()
            bytes_in += len(message.get("body", b""))
            return message

        async def send_with_headers(message: Message) -> None:
            nonlocal status, bytes_out
            bytes_out += len(message.get("body", b""))
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message).update(state["headers"])
                if body_awaits_consent or self.leaving():
                    MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)

        self.metrics.in_flight.inc()
        try:
            await self.app(scope, receive_body, send_with_headers)
        except Exception:
            status = 500
            raise
        except asyncio.CancelledError:
            # By the end of the process, when its drain took too long.
            status = 503
            raise
        finally:
            self.metrics.in_flight.dec()
            seconds = time.perf_counter() - started
            # Only addresses that exist, so that a scanner cannot fill the metrics.
            route = getattr(scope.get("route"), "path", "unmatched")
            model = state.get("model", "")
            self.metrics.requests.labels(route, model, status).inc()
            exemplar = trace.exemplar if trace else None
            self.metrics.request_seconds.labels(route, model).observe(seconds, exemplar)
            if trace:
                name = f"{scope['method']} {route}"
                trace.describe(name, _attributes(scope, route, status), failed=status >= 500)
            logger.log(
                logging.DEBUG if route in PROBES else logging.INFO,
                "%s %s %d",
                scope["method"],
                scope["path"],
                status,
                extra={
                    "request_id": request_id,
                    "method": scope["method"],
                    "path": scope["path"],
                    "status": status,
                    "milliseconds": round(seconds * 1000, 1),
                    "model": model,
                    "key": state.get("key", ""),
                    "client": (scope.get("client") or ("",))[0],
                    "bytes_in": bytes_in,
                    "bytes_out": bytes_out,
                    **({"trace_id": trace.trace_id} if trace else {}),
                },
            )


def _attributes(scope: Scope, route: str, status: int) -> dict[str, str | int]:
    """By OpenTelemetry's conventions for HTTP, and ours."""
    state = scope["state"]
    return {
        "http.request.method": scope["method"],
        "url.path": scope["path"],
        "http.route": route,
        "http.response.status_code": status,
        "segserve.request_id": state["request_id"],
        "segserve.model": state.get("model", ""),
    }
