"""What became of a checkpoint that a worker is to serve."""

from dataclasses import dataclass, field
from typing import Literal

from models.torchserve.status import ModelStatus
from models.weights.checkpoint import Checkpoint
from worker.management import Load, Totals


@dataclass(slots=True)
class ServedModel:
    """since: when it failed or began to leave, by time.monotonic. wait_ms and run_ms: means of recent calls."""

    checkpoint: Checkpoint
    state: Literal["loading", "ready", "failed", "leaving", "unpublished"] = "loading"
    detail: str = ""
    since: float = 0.0
    load: Load = field(default_factory=Load)
    totals: Totals = field(default_factory=Totals)
    wait_ms: float = 0.0
    run_ms: float = 0.0

    def learn(self, now: Totals) -> None:
        """Bring the means up to date."""
        before = self.totals
        if now.took > before.took:
            # Counted when they come and timed when they are answered: those of a long call may be none.
            calls = max(1.0, now.calls - before.calls)
            waited, took = now.waited - before.waited, now.took - before.took
            self.wait_ms = round(waited / calls * 1000, 2)
            self.run_ms = round((took - waited) / calls * 1000, 2)
            self.totals = now
        elif now.calls == before.calls:
            self.wait_ms = 0.0

    @property
    def status(self) -> ModelStatus:
        """What is published of one that is not unpublished."""
        card = self.checkpoint.card
        assert self.state != "unpublished"
        return ModelStatus(
            **card.model_dump(include={"name", "version", "label_set", "input_size", "licence", "data", "scores"}),
            long_side=card.preprocessing.long_side,
            grid=card.preprocessing.grid,
            enlarge=card.preprocessing.enlarge,
            sha256=self.checkpoint.sha256,
            state=self.state,
            detail=self.detail,
            processes=self.load.processes,
            waiting=self.load.waiting,
            wait_ms=self.wait_ms,
            run_ms=self.run_ms,
        )
