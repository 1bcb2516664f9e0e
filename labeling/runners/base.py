"""What runners share: they decide where a unit is worked off, and nothing else."""

from collections.abc import Sequence
from typing import Protocol

from labeling.job import Job
from labeling.progress import Progress
from labeling.worker import Task, WorkerSettings

STORE_ATTEMPTS = 3
"""How often a unit is tried that the store fails."""
MAX_DEATHS = 50
"""Of workers at one unit, before the job stops. Finding a photo that kills takes about eight."""
MAX_FAILED_STARTS = 3
"""Workers in a row that die before they are ready."""


class Runner(Protocol):
    def run(
        self, job: Job, store_uri: str, settings: WorkerSettings, tasks: Sequence[Task], progress: Progress
    ) -> None:
        """Work off all tasks. Raises JobError; then, or when interrupted, no worker is left behind."""
        ...
