"""Where everything here happens. Standard library alone, because other servers' environments import it too."""

import random
import socket

HOST = "127.0.0.1"
# Below what Linux hands out by itself, to whoever asks for no port of its own.
_PORTS = range(20_000, 32_768)


def free_port() -> int:
    """A port that nobody listened on a moment ago, and that nobody else is given meanwhile who does not ask for it."""
    while True:
        with socket.socket() as listener:
            try:
                listener.bind((HOST, port := random.SystemRandom().choice(_PORTS)))
            except OSError:
                continue
            return port
