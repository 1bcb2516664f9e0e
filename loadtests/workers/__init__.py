"""TorchServe workers, measured: who forms batches, what travels, and what they cost beside the embedded engine."""
