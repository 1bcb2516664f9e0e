"""Ray Serve: its default batch wait of 10 ms; for the deadline its request timeout and queue limit.

Shorter waits, and RAY_SERVE_THROUGHPUT_OPTIMIZED, made smaller batches and fewer answers a second of this task.
"""

import asyncio
import os
import signal
import sys
import tempfile
import threading

# Read when ray is imported.
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import ray
from ray import serve
from starlette.requests import Request
from starlette.responses import Response

from loadtests.loopback import HOST
from loadtests.rivals.options import Options, parse
from loadtests.rivals.work import load

BATCH_DELAY_SECONDS = 0.01
MOST_REQUESTS = 1_000


def deployment(options: Options) -> serve.Deployment:
    """A replica a worker."""
    # Two batches are with the replica: the one that runs and the one that comes next.
    ongoing = 2 * options.batch if options.queue_limit else MOST_REQUESTS
    queued = max(1, options.queue_limit - options.batch) if options.queue_limit else -1

    @serve.deployment(num_replicas=options.workers, max_ongoing_requests=ongoing, max_queued_requests=queued)
    class Model:
        """JPEG in, what the work makes of it out."""

        def __init__(self) -> None:
            self.work = load(options)

        @serve.batch(max_batch_size=options.batch, batch_wait_timeout_s=BATCH_DELAY_SECONDS)
        async def infer(self, photos: list[bytes]) -> list[bytes]:
            return list(await asyncio.to_thread(self.work.run, photos))

        async def __call__(self, request: Request) -> Response:
            return Response(await self.infer(await request.body()), media_type="image/png")

    return Model


def main() -> None:
    options = parse()
    with tempfile.TemporaryDirectory(prefix="ray-") as folder:
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, _node_ip_address=HOST, _temp_dir=folder)
        serve.start(
            http_options={"host": HOST, "port": options.port, "request_timeout_s": options.deadline_seconds},
            logging_config={"log_level": "ERROR", "enable_access_log": False},
        )
        serve.run(deployment(options).bind(), route_prefix="/predict")
        # In place of ray's own: leaving by an exception ends its processes and removes the folder.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit())
        try:
            threading.Event().wait()
        finally:
            ray.shutdown()


if __name__ == "__main__":
    main()
