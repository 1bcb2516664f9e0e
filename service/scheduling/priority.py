"""Priority classes."""

from enum import IntEnum


class Priority(IntEnum):
    """Most urgent first."""

    INTERACTIVE = 0
    NORMAL = 1
    BATCH = 2


BATCH_SHARE = 0.1
"""Of the devices' work, what batch gets as long as it has any, however much of the other classes waits."""
