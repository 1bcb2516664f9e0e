"""What can be wrong with a photo: one class a cause. Each message is a sentence for the caller that says what to do."""


class ImageError(Exception):
    """The photo cannot be used."""


class NotAnImage(ImageError):
    """The bytes are no image: none at all, text, or nothing that is known."""


class DamagedImage(ImageError):
    """The bytes begin as an image and cannot be read to the end: truncated, corrupt or contradictory."""


class FormatNotAllowed(ImageError):
    """An image, or a document, in a format that is not taken."""


class TooManyPixels(ImageError):
    """The photo is larger than the limit."""
