"""Pydantic's complaints in one line."""

from pydantic import ValidationError


def explain(error: ValidationError) -> str:
    """Each field with what is wrong with it: "epochs: Input should be greater than 0; crop: Field required"."""
    return "; ".join(": ".join([*map(str, part["loc"]), part["msg"]]) for part in error.errors())
