import pytest

from labeling.status import share_columns
from models import labelsets


@pytest.mark.parametrize("name", labelsets.names())
def test_every_class_has_a_column_of_its_own(name: str) -> None:
    label_set = labelsets.load(name)
    columns = share_columns(label_set)
    assert len(set(columns)) == len(label_set.classes)
    assert all(column.isidentifier() for column in columns)


def test_columns_are_named_as_the_classes() -> None:
    columns = share_columns(labelsets.load("cityscapes19"))
    assert (columns[0], columns[6]) == ("share_road", "share_traffic_light")
