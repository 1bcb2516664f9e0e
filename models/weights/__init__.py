"""Checkpoints that ship with segserve (NAME@VERSION.safetensors, each beside its model card), and how they are read."""
