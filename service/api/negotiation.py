"""What a caller who says nothing in the query wants, from its Accept header (RFC 9110, section 12.5.1)."""

from service.answers import Output

_PICTURES = ("image/png", "image/jpeg", "image/webp")


def accepted_types(accept: str) -> list[str]:
    """Media ranges, most wanted first: by weight, then specific before general, then in order; weight 0 is left out."""
    ranked = []
    for position, item in enumerate(accept.split(",")):
        media_range, *parameters = (part.strip().lower() for part in item.split(";"))
        weight = 1.0
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.strip() == "q":
                try:
                    weight = float(value)
                except ValueError:
                    weight = 0.0
        if media_range and weight > 0:
            ranked.append((-weight, media_range.count("*"), position, media_range))
    return [media_range for *_, media_range in sorted(ranked)]


def wanted_output(accept: str) -> Output:
    """image/png asks for labels, image/jpeg and image/webp for the overlay, anything else for json."""
    # Pictures that nobody here makes, such as AVIF, stand before those that we do make in what browsers send.
    ranked = (t for t in accepted_types(accept) if t in _PICTURES or not t.startswith("image/") or "*" in t)
    first = next(ranked, "")
    if first == "image/png":
        return "labels"
    return "overlay" if first in ("image/jpeg", "image/webp") else "json"


def overlay_type(accept: str) -> str:
    """image/jpeg, unless the header asks for image/webp or image/png before it."""
    named = [t for t in accepted_types(accept) if t in _PICTURES]
    return named[0] if named else "image/jpeg"
