"""What travels, the other way: decoded pixels at the network's size, as a gateway would have scaled them."""

import numpy as np
from numpy.typing import NDArray

from models.torchserve.handler import Handler
from models.torchserve.wire import EncodedPhoto


class PixelsHandler(Handler):
    """A photo's own bytes are its pixels; its request id says their height and width."""

    def read(self, photo: EncodedPhoto, max_pixels: int) -> NDArray[np.uint8]:  # noqa: ARG002
        height, width = (int(side) for side in photo.request_id.split("x"))
        return np.frombuffer(photo.body, np.uint8).reshape(height, width, 3)
