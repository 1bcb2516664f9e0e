"""The supervisor of one TorchServe: `segserve worker`, and the entrypoint of the worker's container."""
