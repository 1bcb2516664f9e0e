from collections.abc import Callable

import pytest

from service.errors import NotReady
from service.lifecycle import Lifecycle


class Instance:
    """Hosts what `models` names."""

    def __init__(self) -> None:
        self.models = {"lane", "lane@1"}
        self.shown: list[bool] = []
        self.lifecycle = Lifecycle("lane", self.models.__contains__, self.shown.append)

    def ready(self) -> bool:
        return _holds(self.lifecycle.require_ready)

    def takes(self, model: str | None = None) -> bool:
        return _holds(lambda: self.lifecycle.require_service(model))


def _holds(require: Callable[[], None]) -> bool:
    try:
        require()
    except NotReady:
        return False
    return True


def test_from_loading_to_the_end() -> None:
    instance, seen = Instance(), []
    lifecycle = instance.lifecycle
    for step in (lifecycle.update, lifecycle.loaded, lifecycle.leave, lifecycle.drain):
        step()
        seen.append((instance.shown[-1], instance.ready(), instance.takes(), lifecycle.leaving, lifecycle.draining))
    assert seen == [
        (False, False, False, False, False),
        (True, True, True, False, False),
        (False, False, True, True, False),
        (False, False, False, True, True),
    ]


def test_models_that_are_loaded_too_late_make_no_instance_ready_that_ends() -> None:
    instance = Instance()
    instance.lifecycle.leave()
    instance.lifecycle.loaded()
    assert not instance.ready()
    assert instance.shown == [False]


def test_a_model_that_no_device_serves_is_named() -> None:
    instance = Instance()
    instance.lifecycle.loaded()
    assert instance.takes("lane@1")
    with pytest.raises(NotReady, match="No worker for other@3 is in service"):
        instance.lifecycle.require_service("other@3")
    instance.models.clear()
    instance.lifecycle.update()
    assert not instance.ready()
    assert instance.shown == [True, False]
