"""TorchServe workers as devices: found, asked how they are, sent batches, left out while they are ill."""
