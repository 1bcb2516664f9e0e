"""Every setting of a worker: an environment variable (SEGSERVE_WORKER_ and its name), a flag of `segserve worker`."""

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class WorkerSettings(BaseSettings):
    """Read from the environment; arguments go first. A value out of its range is refused at start."""

    model_config = SettingsConfigDict(
        env_prefix="SEGSERVE_WORKER_", extra="forbid", use_attribute_docstrings=True, frozen=True
    )

    host: str = "127.0.0.1"
    """Address to listen on, for gateways: this port and TorchServe's inference port; 0.0.0.0 for every interface."""
    port: int = Field(default=8090, ge=0, le=65535)
    """Port with what the worker publishes (/status, /readyz, /livez, /metrics); 0 takes a free one and logs it."""
    inference_port: int = Field(default=8091, ge=0, le=65535)
    """Port of TorchServe's inference API; 0 takes a free one."""
    model_dir: Path | None = None
    """Folder with checkpoints of your own (NAME@VERSION.safetensors), served beside those that ship; it is watched."""
    slots: int = Field(default=0, ge=0)
    """Python processes a model, and calls at once; 0 is one a GPU, or else one a core (OMP_NUM_THREADS), up to four."""
    stall_s: int = Field(default=60, gt=0)
    """A Python process that has not answered a call for this long is killed and started anew, in seconds."""
    drain_s: int = Field(default=30, ge=0)
    """Time for calls to finish after SIGTERM, in seconds."""
    otlp_endpoint: str | None = None
    """Collector that traces are sent to by OTLP over HTTP, such as http://collector:4318; without it there are none."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe log lines to write."""
