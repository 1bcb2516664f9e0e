import pytest
from pydantic import BaseModel, ValidationError

from models.validation import explain


class Thing(BaseModel):
    size: tuple[int, int]
    name: str


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ('{"size": [1, "x"], "name": "a"}', "size: 1: Input should be a valid integer"),
        ('{"size": [1, 2]}', "name: Field required"),
        ("{}", "size: Field required; name: Field required"),
        ("?", "Invalid JSON"),
    ],
)
def test_every_field_is_named_with_its_fault_in_one_line(data: str, sentence: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Thing.model_validate_json(data)
    explained = explain(caught.value)
    assert sentence in explained
    assert "\n" not in explained
