"""What can go wrong with a request: one class a cause, mapped to application/problem+json (RFC 9457) here alone."""

import math
import random
from collections.abc import Mapping
from http import HTTPStatus
from typing import ClassVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from images import DamagedImage, FormatNotAllowed, NotAnImage, TooManyPixels

MEDIA_TYPE = "application/problem+json"
# A header that asks everyone to come back at the same instant brings the next overload: up to this share later.
RETRY_JITTER = 0.25


class ServiceError(Exception):
    """A cause. `detail` is a sentence that says what to do; `close` ends the connection with the answer."""

    status: ClassVar[int]
    cause: ClassVar[str]

    def __init__(self, detail: str, *, retry_after: float | None = None, close: bool = False) -> None:
        """retry_after: seconds until the same request is predicted to succeed."""
        super().__init__(detail)
        self.retry_after = retry_after
        self.close = close


class MalformedBody(ServiceError):
    status, cause = 400, "malformed-body"


class KeyMissing(ServiceError):
    status, cause = 401, "key-missing"


class KeyUnknown(ServiceError):
    status, cause = 403, "key-unknown"


class KeyLimited(ServiceError):
    """The key's own limit, whatever the service could do."""

    status, cause = 429, "key-limited"


class UnknownModel(ServiceError):
    status, cause = 404, "unknown-model"


class UnknownLabelSet(ServiceError):
    status, cause = 404, "unknown-label-set"


class BodyTooSlow(ServiceError):
    status, cause = 408, "body-too-slow"


class BodyTooLarge(ServiceError):
    status, cause = 413, "body-too-large"


class BadParameter(ServiceError):
    status, cause = 422, "bad-parameter"


class Overloaded(ServiceError):
    """Refused by admission, before any pixel was decoded."""

    status, cause = 429, "overloaded"


class InferenceFailed(ServiceError):
    status, cause = 500, "inference-failed"


class NotReady(ServiceError):
    """The model is still loading, or the service is shutting down."""

    status, cause = 503, "not-ready"


class DeadlineExceeded(ServiceError):
    status, cause = 504, "deadline-exceeded"


IMAGE_ERRORS: Mapping[type[Exception], tuple[int, str]] = {
    NotAnImage: (400, "not-an-image"),
    DamagedImage: (400, "damaged-image"),
    TooManyPixels: (413, "too-many-pixels"),
    FormatNotAllowed: (415, "format-not-allowed"),
}


def install_error_handlers(app: FastAPI) -> None:
    """Make every error of `app`, expected or not, a problem+json answer."""
    app.add_exception_handler(ServiceError, _service_error)
    for kind in IMAGE_ERRORS:
        app.add_exception_handler(kind, _image_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _unexpected_error)


def problem(
    status: int,
    detail: str,
    *,
    cause: str | None = None,
    headers: Mapping[str, str] | None = None,
    **members: object,
) -> JSONResponse:
    """A problem+json answer. `cause` names the problem type; without one the status says it all."""
    content = {
        "type": f"urn:segserve:problem:{cause}" if cause else "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        **members,
    }
    return JSONResponse(content, status, headers, MEDIA_TYPE)


async def _service_error(request: Request, error: Exception) -> JSONResponse:  # noqa: ARG001 (the signature of a handler)
    assert isinstance(error, ServiceError)
    headers, members = {}, {}
    if error.retry_after is not None:
        late = error.retry_after * (1 + random.uniform(0, RETRY_JITTER))
        headers["Retry-After"] = str(max(1, math.ceil(late)))
        members["retry_after_ms"] = math.ceil(error.retry_after * 1000)
    if isinstance(error, KeyMissing):
        headers["WWW-Authenticate"] = "Bearer"
    if error.close:
        headers["Connection"] = "close"
    return problem(error.status, str(error), cause=error.cause, headers=headers, **members)


async def _image_error(request: Request, error: Exception) -> JSONResponse:  # noqa: ARG001 (the signature of a handler)
    status, cause = IMAGE_ERRORS[type(error)]
    return problem(status, str(error), cause=cause)


async def _validation_error(request: Request, error: Exception) -> JSONResponse:  # noqa: ARG001 (the signature of a handler)
    assert isinstance(error, RequestValidationError)
    faults = [f"{'.'.join(str(part) for part in e['loc'][1:])}: {e['msg']}" for e in error.errors()]
    return problem(422, f"Correct these parameters: {'; '.join(faults)}.", cause=BadParameter.cause)


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    path = request.url.path
    detail = {
        404: f"There is nothing at {path}: /docs lists every address.",
        405: f"{request.method} is not possible at {path}: /docs lists the methods.",
    }.get(error.status_code, error.detail)
    return problem(error.status_code, detail, headers=error.headers)


async def _unexpected_error(request: Request, error: Exception) -> JSONResponse:  # noqa: ARG001 (the signature of a handler)
    # Sent outside all middleware, so its headers are not added for us.
    state = request.scope["state"]
    detail = f"An internal error: the log has the cause, near request {state['request_id']}."
    return problem(500, detail, cause="internal", headers=state["headers"])
