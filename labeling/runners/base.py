"""What runners share: they decide where a unit is worked off, and nothing else."""

from collections.abc import Sequence
from typing import Protocol

from labeling.errors import JobError
from labeling.job import Job
from labeling.progress import Progress
from labeling.worker import Task, WorkerSettings

ATTEMPTS = 3
"""How often a unit is tried that fails without a death."""
MAX_DEATHS = 50
"""Of workers at one unit, before the job stops. Finding a photo that kills takes about eight."""
MAX_FAILED_STARTS = 3
"""Workers in a row that die before they are ready."""
DEATHS_ADVICE = (
    "where memory is short, let fewer --workers share it; else their own last messages say why. "
    "The same command goes on from here"
)


class Runner(Protocol):
    def run(
        self, job: Job, store_uri: str, settings: WorkerSettings, tasks: Sequence[Task], progress: Progress
    ) -> None:
        """Work off all tasks. Raises JobError; then, or when interrupted, no worker is left behind."""
        ...


def fails_for_good(outcome: str, task: Task, why: str, hint: str = "") -> JobError:
    """outcome: "store failed", or "failed" for what nobody foresaw. hint: what to look at when the store fails."""
    if outcome == "store failed":
        return JobError(f"the results cannot be read or written: {why}{hint}. Run the same command again later")
    return JobError(f"{task} fails each time ({why}). That is a mistake in segserve: please report it")
