"""The JSON file of a label set."""

from collections.abc import Sequence
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

IGNORE_VALUE = 255
"""The value of a pixel without a label, in every set: training skips it, scores leave it out, it is drawn black."""

Byte = Annotated[int, Field(ge=0, le=255)]
Text = Annotated[str, Field(min_length=1, pattern=r"^\S(.*\S)?$")]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ClassDefinition(_Strict):
    """A class; the fields are those of LabelClass."""

    id: int
    name: Text
    color: tuple[Byte, Byte, Byte]
    dataset_id: Annotated[int, Field(ge=0, lt=IGNORE_VALUE)]


class Definition(_Strict):
    """A label set; the fields are those of LabelSet."""

    title: Text
    source: Text
    ignored_dataset_ids: tuple[Byte, ...] = ()
    classes: tuple[ClassDefinition, ...]

    @model_validator(mode="after")
    def _is_unambiguous(self) -> Self:
        if not 2 <= len(self.classes) <= IGNORE_VALUE:
            raise ValueError(f"a set has 2 to 255 classes, not {len(self.classes)}")
        if [label.id for label in self.classes] != list(range(len(self.classes))):
            raise ValueError("the ids of the classes must be 0, 1, 2, ... in this order")
        _once("name", [label.name for label in self.classes])
        _once("dataset_id", [*(label.dataset_id for label in self.classes), *set(self.ignored_dataset_ids)])
        return self


def _once(what: str, given: Sequence[str | int]) -> None:
    twice = sorted({repr(each) for each in given if given.count(each) > 1})
    if twice:
        raise ValueError(f"{what} {', '.join(twice)} is there twice (what is ignored is no class)")
