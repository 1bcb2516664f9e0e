"""What runs inside a TorchServe worker, and what it and a gateway say to each other.

handler.py and archive.py are for the worker; wire.py and status.py import no torch, so that a gateway can share them.
"""
