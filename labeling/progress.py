"""How far a job is: counted, shown, and judged."""

import sys
from contextlib import suppress
from typing import Any

from tqdm import tqdm

from labeling.counts import Counts, by_cause
from labeling.errors import FailureRateExceeded
from labeling.metrics import JobMetrics

JUDGED_AFTER = 100
"""Photos before a failure rate says anything."""

_SECONDS_BETWEEN_LINES = 30.0


class _Stderr:
    """Whose reader may leave, or whose disk may fill up: for want of a bar nobody wants to lose the job."""

    def write(self, text: str) -> None:
        with suppress(OSError):
            sys.stderr.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            sys.stderr.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)


class Progress:
    """A bar on stderr with photos a second, the time left and the errors by cause; lines where there is no terminal."""

    def __init__(
        self,
        total: int,
        *,
        max_failure_rate: float | None = None,
        done: int = 0,
        shown: bool = True,
        metrics: JobMetrics | None = None,
    ) -> None:
        """total: photos of the job, of which `done` were done before. max_failure_rate: None judges nothing.

        metrics: are told the same.
        """
        self.counts = Counts()
        self._metrics = metrics
        self._max_failure_rate = max_failure_rate
        self._stderr = _Stderr()
        terminal = sys.stderr.isatty()
        self._bar = tqdm(
            total=total,
            file=self._stderr,
            initial=done,
            disable=not shown,
            unit="photo",
            dynamic_ncols=True,
            smoothing=0.05,
            mininterval=0.2 if terminal else _SECONDS_BETWEEN_LINES,
            maxinterval=10 if terminal else 2 * _SECONDS_BETWEEN_LINES,
        )

    def advance(self, counts: Counts) -> None:
        """Raises FailureRateExceeded."""
        self.counts += counts
        if self._metrics:
            self._metrics.add(counts)
        self._show(counts.done)
        failed, done = self.counts.errors.total(), self.counts.done
        limit = self._max_failure_rate
        if limit is not None and done >= JUDGED_AFTER and failed > limit * done:
            raise FailureRateExceeded(
                f"{failed} of {done} photos failed ({failed / done:.1%}, more than --max-failure-rate {limit:g}): "
                f"{by_cause(self.counts.errors)}. Finished shards are kept: mend the cause, or allow a higher rate, "
                "and run the same command again"
            )

    def take_back(self, counts: Counts) -> None:
        """These photos are done again: their process died before it committed them."""
        self.counts -= counts
        self._show(-counts.done)

    def commit(self) -> None:
        """A shard is done."""
        if self._metrics:
            self._metrics.commit()

    def note(self, message: str) -> None:
        self._bar.write(message, file=self._stderr)

    def close(self) -> None:
        self._bar.close()

    def _show(self, photos: int) -> None:
        if self.counts.errors:
            self._bar.set_postfix_str(by_cause(self.counts.errors), refresh=False)
        self._bar.update(photos)
