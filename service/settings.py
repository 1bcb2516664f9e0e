"""Every setting of the gateway: an environment variable (SEGSERVE_ and the name) and a flag of `segserve serve`."""

import os
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Read from the environment; arguments go first. A value out of its range is refused at start."""

    model_config = SettingsConfigDict(
        env_prefix="SEGSERVE_", extra="forbid", use_attribute_docstrings=True, frozen=True
    )

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 for every interface."""
    port: int = Field(default=8000, ge=0, le=65535)
    """Port to listen on; 0 takes a free one and logs it."""
    backend: Literal["local", "torchserve"] = "local"
    """Where networks run: local, in this process; or torchserve, in TorchServe workers."""
    workers_at: str = ""
    """Where `segserve worker` runs, for the backend torchserve: http://HOST:PORT,... A name may stand for many
    addresses that come and go. Without it this machine's own worker is started, and stopped with the service."""
    model: str = "eseg-lite-s"
    """Model of a request that names none: NAME (its newest version) or NAME@VERSION."""
    model_dir: Path | None = None
    """Folder with checkpoints of your own (NAME@VERSION.safetensors), served beside those that ship."""
    label_set_dir: Path | None = None
    """Folder with label sets of your own (NAME.json), for models that are trained on them."""
    cache_dir: Path | None = None
    """Folder of compiled networks; by default segserve's in the user's cache folder."""
    engine_wait: bool = False
    """Be ready only when every network is compiled; otherwise one that never was on this machine is eager at first."""
    api_key_file: Path | None = None
    """File with the SHA-256 of each API key that POST /segment takes, one a line; without it anyone may ask."""
    cors_origins: str = ""
    """Origins whose pages may ask from a browser (https://label.example,...); none by default."""
    max_body_bytes: int = Field(default=32 * 2**20, gt=0)
    """Largest request body."""
    max_pixels: int = Field(default=50_000_000, gt=0)
    """Largest photo, in pixels."""
    max_long_side: int = Field(default=4096, gt=0)
    """Largest long_side that a request may ask for, in pixels."""
    max_memory_bytes: int = Field(default=2**30, gt=0)
    """What all requests in flight may hold together (bodies, photos, results); more are refused with 429."""
    batch_pixels: int = Field(default=2**21, gt=0)
    """Padded pixels that go to a device in one batch; a single larger photo still goes, alone."""
    timeout_ms: int = Field(default=10_000, gt=0)
    """Deadline of a request that sets none, from its last body byte."""
    max_timeout_ms: int = Field(default=60_000, gt=0)
    """Longest deadline that a request may set; a longer one is clamped to it."""
    body_timeout_ms: int = Field(default=30_000, gt=0)
    """Time for a request's body to arrive."""
    drain_s: int = Field(default=30, ge=0)
    """Time for accepted work to finish after SIGTERM, in seconds; for up to five of them photos are still accepted."""
    codec_threads: int = Field(default_factory=lambda: os.cpu_count() or 1, gt=0)
    """Threads that decode photos and encode answers; by default one a core."""
    otlp_endpoint: str | None = None
    """Collector that traces are sent to by OTLP over HTTP, such as http://collector:4318; without it there are none."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe log lines to write."""
