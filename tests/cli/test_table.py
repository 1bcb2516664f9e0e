from cli.table import table


def test_columns_are_as_wide_as_their_widest_cell_and_numbers_stand_right() -> None:
    rows = [("road", "1.5 M", "-"), ("a building", "120.0 M", "yes")]
    assert table(("NAME", "SIZE", "SEEN"), rows).splitlines() == [
        "NAME           SIZE  SEEN",
        "road          1.5 M  -",
        "a building  120.0 M  yes",
    ]


def test_no_rows_leave_the_header() -> None:
    assert table(("NAME", "SIZE"), []) == "NAME  SIZE"
