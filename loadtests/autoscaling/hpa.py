"""The decisions of Kubernetes' HorizontalPodAutoscaler (autoscaling/v2), as its controller makes them.

https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#algorithm-details
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import yaml

from loadtests.autoscaling.signals import BUSY

TOLERANCE = 0.1
SYNC_SECONDS = 15.0
K8S = Path(__file__).parents[2] / "k8s"
SHIPPED = K8S / "components" / "keda" / "workers.yaml"
FALLBACK = K8S / "overlays" / "gpu" / "worker-hpa.yaml"


@dataclass(frozen=True, slots=True)
class Trigger:
    """value: `AverageValue` is shared out among the replicas, `Value` is each one's own."""

    query: str
    kind: Literal["AverageValue", "Value"]
    threshold: float

    def wanted(self, value: float, replicas: int, ready: int) -> int:
        """Replicas that bring the metric to its threshold; those that there are, if it is nearly there.

        A value of each one's own is made by those that are ready; one that is shared out is for all that there are.
        """
        sharing = max(1, replicas if self.kind == "AverageValue" else ready)
        ratio = value / self.threshold / (sharing if self.kind == "AverageValue" else 1)
        if abs(ratio - 1) <= TOLERANCE:
            return replicas
        return math.ceil(round(ratio * sharing, 9))


@dataclass(frozen=True, slots=True)
class Policy:
    """No more than so many pods, or per cent of them, in so many seconds."""

    type: Literal["Pods", "Percent"]
    value: int
    periodSeconds: int


@dataclass(frozen=True, slots=True)
class Direction:
    """How fast one direction may go."""

    stabilization: float
    policies: Sequence[Policy]


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a ScaledObject says."""

    least: int
    most: int
    triggers: Sequence[Trigger]
    up: Direction
    down: Direction

    def with_threshold(self, threshold: float) -> "Parameters":
        """Another share of the time that devices are to be busy."""
        first, second = self.triggers
        return replace(self, triggers=[replace(first, threshold=threshold), second])

    def with_queue_seconds(self, threshold: float) -> "Parameters":
        """Another wait at which more are wanted, whatever the demand seems to be."""
        first, second = self.triggers
        return replace(self, triggers=[first, replace(second, threshold=threshold)])

    def with_patience(self, seconds: float) -> "Parameters":
        """Another time for which fewer must have sufficed."""
        return replace(self, down=replace(self.down, stabilization=seconds))


def shipped(manifest: Path = SHIPPED) -> Parameters:
    """Those of the ScaledObject that ships for the workers."""
    spec = yaml.safe_load(manifest.read_text(encoding="utf-8"))["spec"]
    behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    return Parameters(
        least=spec["minReplicaCount"],
        most=spec["maxReplicaCount"],
        triggers=[
            Trigger(t["metadata"]["query"], t["metricType"], float(t["metadata"]["threshold"]))
            for t in spec["triggers"]
        ],
        up=_direction(behavior["scaleUp"]),
        down=_direction(behavior["scaleDown"]),
    )


def fallback(manifest: Path = FALLBACK) -> Parameters:
    """Those of the HorizontalPodAutoscaler that ships for clusters without KEDA.

    It follows the workers' CPU, which is taken to be as busy as their devices.
    """
    spec = yaml.safe_load(manifest.read_text(encoding="utf-8"))["spec"]
    [metric] = spec["metrics"]
    busy = metric["containerResource"]["target"]["averageUtilization"] / 100
    return Parameters(
        least=spec["minReplicas"],
        most=spec["maxReplicas"],
        triggers=[Trigger(BUSY, "AverageValue", busy)],
        up=_direction(spec["behavior"]["scaleUp"]),
        down=_direction(spec["behavior"]["scaleDown"]),
    )


def _direction(spec: dict[str, Any]) -> Direction:
    return Direction(spec["stabilizationWindowSeconds"], [Policy(**policy) for policy in spec["policies"]])


@dataclass(slots=True)
class HorizontalPodAutoscaler:
    """Call `sync` every SYNC_SECONDS."""

    parameters: Parameters
    _recommended: list[tuple[float, int]] = field(default_factory=list)
    _changes: list[tuple[float, int]] = field(default_factory=list)

    def sync(self, now: float, replicas: int, ready: int, value_of: Callable[[str], float | None]) -> int:
        """How many there are to be from now on. value_of: a query's answer, or None if it has none."""
        p = self.parameters
        values = [(trigger, value_of(trigger.query)) for trigger in p.triggers]
        known = [trigger.wanted(value, replicas, ready) for trigger, value in values if value is not None]
        # While a metric is missing nothing is taken away.
        wanted = max([*known, replicas] if len(known) < len(values) else known)
        wanted = self._stabilised(now, replicas, wanted)
        if wanted > replicas:
            wanted = min(wanted, self._ceiling(now, replicas))
        elif wanted < replicas:
            wanted = max(wanted, self._floor(now, replicas))
        wanted = min(max(wanted, p.least), p.most)
        if wanted != replicas:
            self._changes.append((now, wanted - replicas))
        return wanted

    def _stabilised(self, now: float, replicas: int, wanted: int) -> int:
        """The least of what was wanted lately before going up, the most before going down."""
        self._recommended.append((now, wanted))
        up, down = self.parameters.up.stabilization, self.parameters.down.stabilization
        self._recommended = [(at, n) for at, n in self._recommended if now - at <= max(up, down)]
        lowest = min(n for at, n in self._recommended if now - at <= up)
        highest = max(n for at, n in self._recommended if now - at <= down)
        return min(max(replicas, lowest), highest)

    def _ceiling(self, now: float, replicas: int) -> int:
        limits = []
        for policy in self.parameters.up.policies:
            start = replicas - self._changed(now, policy.periodSeconds, upwards=True)
            step = policy.value if policy.type == "Pods" else math.ceil(start * policy.value / 100)
            limits.append(start + step)
        return max(limits)

    def _floor(self, now: float, replicas: int) -> int:
        limits = []
        for policy in self.parameters.down.policies:
            start = replicas + self._changed(now, policy.periodSeconds, upwards=False)
            left = start - policy.value if policy.type == "Pods" else start * (1 - policy.value / 100)
            limits.append(math.floor(left))
        return min(limits)

    def _changed(self, now: float, seconds: float, *, upwards: bool) -> int:
        return sum(abs(n) for at, n in self._changes if now - at < seconds and (n > 0) == upwards)
