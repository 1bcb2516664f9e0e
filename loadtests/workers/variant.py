"""`segserve worker` with another handler, or with TorchServe's own batching. `command` runs it in a process."""

import json
import sys
from collections.abc import Mapping, Sequence
from unittest.mock import patch

from models.torchserve.archive import HANDLER
from service.telemetry.logs import configure_logging
from worker import management
from worker.server import Server
from worker.settings import WorkerSettings


def command(
    settings: WorkerSettings, *, handler: str = HANDLER, batching: Mapping[str, int] | None = None
) -> Sequence[str]:
    """handler: a module. batching: TorchServe's batch_size and max_batch_delay, where gateways are to form none."""
    arguments = {"handler": handler, "batching": batching or {}}
    return [sys.executable, "-m", "loadtests.workers.variant", settings.model_dump_json(), json.dumps(arguments)]


def main() -> None:
    settings = WorkerSettings.model_validate_json(sys.argv[1])
    arguments = json.loads(sys.argv[2])
    batching = arguments["batching"]
    configure_logging(settings.log_level)
    server = Server(settings, arguments["handler"])
    if batching:
        # It forms batches of what it holds: gateways must give it that many calls, of one photo each.
        batching |= {"initial_workers": server.supervisor.slots}
        server.supervisor.slots *= 2 * batching["batch_size"]
    with patch.dict(management.BATCHING, batching):
        server.run_until_stopped(stop_with_stdin=False)


if __name__ == "__main__":
    main()
