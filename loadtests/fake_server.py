"""`python -m loadtests.fake_server --port P`: `segserve serve`, flags and all, around the fake device."""

import sys
from unittest.mock import patch

import service.app
from cli.serve import command
from loadtests.fake_device import BATCH_PIXELS, MODEL, FakeBackend

DEFAULTS = ("--model", MODEL.name, "--batch-pixels", str(BATCH_PIXELS))


def main() -> None:
    """Serve until SIGTERM. Flags given on the command line go before the defaults."""
    # The command itself, so that what is measured is what users run: its server, its drain, its logs.
    with patch.object(service.app, "make_backend", lambda _: FakeBackend()):
        command.main([*DEFAULTS, *sys.argv[1:]], prog_name="fake_server")


if __name__ == "__main__":
    main()
