import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.negotiation import accepted_types, overlay_type, wanted_output

CHROME_PAGE = (
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,"
    "application/signed-exchange;v=b3;q=0.7"
)
FIREFOX_PAGE = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "output"),
    [
        ("", "json"),
        ("*/*", "json"),
        ("application/json", "json"),
        ("text/plain", "json"),
        ("image/*", "json"),
        (CHROME_PAGE, "json"),
        (FIREFOX_PAGE, "json"),
        ("image/png", "labels"),
        ("IMAGE/PNG", "labels"),
        ("image/png, */*", "labels"),
        ("*/*, image/png", "labels"),
        ("image/jpeg", "overlay"),
        ("image/webp", "overlay"),
        ("image/avif,image/webp", "overlay"),
        ("image/avif", "json"),
        ("image/jpeg;q=0.5, image/png", "labels"),
        ("image/jpeg;q=0.5, image/png;q=0.4", "overlay"),
        ("image/png;q=0, image/jpeg;q=0.1", "overlay"),
        ("image/png;q=0", "json"),
        ("image/png;q=high, application/json", "json"),
        ("image/png;level=1;q=0.2, application/json;q=0.1", "labels"),
        (",,;q=1, ,image/png", "labels"),
    ],
)
def test_accept_decides_the_output(accept: str, output: str) -> None:
    assert wanted_output(accept) == output


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("", "image/jpeg"),
        ("*/*", "image/jpeg"),
        ("application/json", "image/jpeg"),
        ("image/jpeg", "image/jpeg"),
        ("image/webp", "image/webp"),
        ("image/png", "image/png"),
        ("image/png, image/jpeg", "image/png"),
        ("image/webp;q=0.5, image/jpeg", "image/jpeg"),
        ("image/webp;q=0, image/jpeg;q=0.1", "image/jpeg"),
        (CHROME_PAGE, "image/webp"),
    ],
)
def test_accept_decides_the_overlays_type(accept: str, media_type: str) -> None:
    assert overlay_type(accept) == media_type


def test_the_most_wanted_comes_first() -> None:
    assert accepted_types("a/a;q=0.5, */*, b/*, c/c, d/d;q=0, e/e") == ["c/c", "e/e", "b/*", "*/*", "a/a"]


@given(st.text(st.characters(max_codepoint=255)))
def test_any_header_has_an_answer(accept: str) -> None:
    assert wanted_output(accept) in ("json", "labels", "overlay")
    assert overlay_type(accept) in ("image/jpeg", "image/webp", "image/png")
