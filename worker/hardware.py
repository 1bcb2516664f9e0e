"""What this machine has to run networks on. Imports no torch."""

import os
import subprocess


def gpus() -> list[str]:
    """Their names; asked of the driver, for asking torch would take memory of the first one."""
    try:
        listed = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return []
    return [line.strip() for line in listed.stdout.splitlines() if line.strip()]


def cores() -> int:
    """OMP_NUM_THREADS, by which a container says how many it has; else all there are."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdecimal() and int(given) else len(os.sched_getaffinity(0))
