"""`segserve worker` with the faulty handler, and with nothing but its own folder to serve."""

import sys
from pathlib import Path
from unittest.mock import patch

from service.telemetry.logs import configure_logging
from worker.server import Server
from worker.settings import WorkerSettings

if __name__ == "__main__":
    configure_logging("info")
    with patch("worker.library.SHIPPED", Path("/nonexistent")):
        settings = WorkerSettings.model_validate_json(sys.argv[1])
        Server(settings, "tests.worker.faulty_handler").run_until_stopped(stop_with_stdin=False)
