"""Label sets as data: class ids, names, colours and the ignore value. Imports without torch."""

from models.labelsets.definition import IGNORE_VALUE
from models.labelsets.labelset import LabelClass, LabelSet, LabelSetError, UnknownLabelSetError, load, names

__all__ = ["IGNORE_VALUE", "LabelClass", "LabelSet", "LabelSetError", "UnknownLabelSetError", "load", "names"]
