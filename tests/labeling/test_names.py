from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeling.names import file_name, member_name

ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300)


@given(ids)
def test_a_member_name_gives_the_id_back(image_id: str) -> None:
    assert unquote(member_name(image_id)) == image_id


@given(ids)
def test_a_member_name_has_no_dot_and_stays_in_its_folder(image_id: str) -> None:
    name = member_name(image_id)
    assert "." not in name
    assert all(name.split("/"))


@given(ids)
def test_a_file_name_is_one_that_a_disk_can_hold(image_id: str) -> None:
    for part in file_name(image_id).split("/"):
        assert 0 < len(part.encode()) <= 200
        assert part not in (".", "..")
        assert "\0" not in part


@given(ids, ids)
def test_two_ids_never_share_a_file_name(first: str, second: str) -> None:
    if first != second:
        assert file_name(first) != file_name(second)


@pytest.mark.parametrize(
    ("image_id", "expected"),
    [
        ("cam0/a.jpg", "cam0/a.jpg"),
        ("../../etc/passwd", "%2E%2E/%2E%2E/etc/passwd"),
        ("/root", "%2Froot"),
        ("a//b", "a%2F%2Fb"),
        ("grün 1.jpg", "grün 1.jpg"),
    ],
)
def test_ordinary_ids_stay_readable(image_id: str, expected: str) -> None:
    assert file_name(image_id) == expected


def test_member_names_keep_folders() -> None:
    assert member_name("cam0/2024.01/a.jpg") == "cam0/2024%2E01/a%2Ejpg"
