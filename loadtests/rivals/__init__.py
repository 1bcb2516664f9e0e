"""Other model servers, each around the same sleeping device and each in an environment of its own.

`python -m loadtests.rivals.NAME PORT` runs one there; the rest of this project never imports those modules.
"""
