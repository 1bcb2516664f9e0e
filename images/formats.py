"""Which format the bytes are in, by their signature alone: a Content-Type or a file name proves nothing."""

import re

from images.errors import FormatNotAllowed, NotAnImage

ALLOWED_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")

_SIGNATURES = {
    name: re.compile(pattern, re.DOTALL)
    for name, pattern in {
        "JPEG": rb"\xff\xd8\xff",
        "PNG": rb"\x89PNG\r\n\x1a\n",
        "WEBP": rb"RIFF....WEBP",
        "GIF": rb"GIF8[79]a",
        # "BM" alone would take any text that starts with it; the size of the second header is one of seven.
        "BMP": rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0",
        "TIFF": rb"II[*+]\0|MM\0[*+]",
        "AVIF": rb"....ftypavi[fs]",
        "HEIC": rb"....ftyp(hei|hev|mif1|msf1)",
        "JPEG 2000": rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51",
        "JPEG XL": rb"\xff\x0a|\0\0\0\x0cJXL ",
        "PSD": rb"8BPS",
        "PDF": rb"%PDF-",
        "SVG": rb"(\xef\xbb\xbf)?\s*<(svg|(\?xml|!).{,1000}?<svg)",
        "ICO": rb"\0\0[\1\2]\0[^\0]\0",
    }.items()
}


def sniff(data: bytes) -> str:
    """Return the format of `data`, one of ALLOWED_FORMATS.

    Raises NotAnImage for bytes with no known signature and FormatNotAllowed for a known format that is not taken.
    """
    if not data:
        raise NotAnImage("There is no image: send the bytes of a photo.")
    name = next((name for name, signature in _SIGNATURES.items() if signature.match(data)), None)
    if name is None:
        raise NotAnImage(f"These bytes are not an image: send a photo as {_spoken(ALLOWED_FORMATS)}.")
    if name not in ALLOWED_FORMATS:
        raise FormatNotAllowed(f"{name} is not taken: send the photo as {_spoken(ALLOWED_FORMATS)}.")
    return name


def _spoken(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"
