"""What can go wrong: with one photo (it becomes a row) or with the whole job (it stops, and can be resumed)."""

from images import DamagedImage, FormatNotAllowed, ImageError, NotAnImage, TooManyPixels

IMAGE_ERROR_CODES: dict[type[ImageError], str] = {
    NotAnImage: "not-an-image",
    DamagedImage: "damaged-image",
    TooManyPixels: "too-many-pixels",
    FormatNotAllowed: "format-not-allowed",
}
"""The same codes as in the problems of the HTTP service."""


class PhotoError(Exception):
    """A photo that cannot be labelled. `code` groups errors by cause; the message is for a person."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.attempts = 1


class TransientError(PhotoError):
    """An error that may pass: worth another attempt."""


class RefusedError(TransientError):
    """An overloaded or restarting service asks for patience: it does not count as an attempt."""

    def __init__(self, code: str, message: str, retry_after: float) -> None:
        """retry_after: seconds."""
        super().__init__(code, message)
        self.retry_after = retry_after


class JobError(Exception):
    """The job cannot go on; the message says why and what to do. What is committed stays."""


class FailureRateExceeded(JobError):
    """Too large a share of the photos fails."""


def photo_error(error: ImageError) -> PhotoError:
    """The row's error for an image that `images` refuses."""
    return PhotoError(IMAGE_ERROR_CODES[type(error)], str(error))
