"""Against pycocotools, the format's own library."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as judge

from labeling.exports.rle import class_runs, counts_string

label_maps = arrays(
    np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=40), elements=st.integers(0, 3) | st.sampled_from([254])
)


@given(label_maps)
def test_masks_are_encoded_as_pycocotools_does(labels: np.ndarray) -> None:
    runs = class_runs(labels)
    assert runs.keys() == set(np.unique(labels).tolist())
    for label, lengths in runs.items():
        mask = np.asfortranarray(labels == label)
        assert counts_string(lengths).encode() == judge.encode(mask.astype(np.uint8))["counts"]
        assert int(lengths[1::2].sum()) == mask.sum()


@given(st.lists(st.integers(0, 2**33), min_size=1, max_size=9))
def test_long_runs_are_encoded(lengths: list[int]) -> None:
    """As the letter of maskApi.c has it, character by character."""
    expected = ""
    for index, length in enumerate(lengths):
        number = length - lengths[index - 2] if index > 2 else length
        while True:
            bits, number = number & 31, number >> 5
            more = number != -1 if bits & 16 else number != 0
            expected += chr((bits | 32 * more) + 48)
            if not more:
                break
    assert counts_string(np.array(lengths)) == expected
