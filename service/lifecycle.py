"""Whether this instance takes photos: from loading its models to its end."""

from collections.abc import Callable
from typing import Literal

from service.errors import NotReady

# When the models may be loaded, a worker be back, or another instance have come, for a client that came before.
_RETRY_SECONDS = 5.0
_LEAVING = "This instance is shutting down: try again."


class Lifecycle:
    """Loading, ready, leaving, draining: one after the other, and an instance that ends early leaves some out."""

    def __init__(self, model: str, hosts: Callable[[str], bool], show: Callable[[bool], None]) -> None:
        """model: the default one. hosts: whether a device serves NAME or NAME@VERSION. show: told if it is ready."""
        self._model, self._hosts, self._show = model, hosts, show
        self._state: Literal["loading", "ready", "leaving", "draining"] = "loading"

    @property
    def leaving(self) -> bool:
        """Whether this is the end: the next request of every connection must find another instance."""
        return self._state in ("leaving", "draining")

    @property
    def draining(self) -> bool:
        """Whether new photos are refused."""
        return self._state == "draining"

    def loaded(self) -> None:
        """The default model is warm."""
        if self._state == "loading":
            self._enter("ready")

    def leave(self) -> None:
        """From now on be ready no more; photos of those who have not heard of it are still taken."""
        self._enter("leaving")

    def drain(self) -> None:
        """From now on refuse new photos; those that were admitted are finished."""
        self._enter("draining")

    def update(self) -> None:
        """`hosts` may answer otherwise."""
        self._show(self._state == "ready" and self._hosts(self._model))

    def require_ready(self) -> None:
        """For clients that are still to come: raises NotReady as `require_service` does, and from `leave` on."""
        if self.leaving:
            raise NotReady(_LEAVING, retry_after=_RETRY_SECONDS)
        self.require_service()

    def require_service(self, model: str | None = None) -> None:
        """Raises NotReady before the models are warm, while draining, and while no device serves NAME@VERSION.

        Without `model` the default one counts.
        """
        name = model or self._model
        if self._state == "loading":
            raise NotReady("The models are still loading: try again.", retry_after=_RETRY_SECONDS)
        if self.draining:
            raise NotReady(_LEAVING, retry_after=_RETRY_SECONDS)
        if not self._hosts(name):
            raise NotReady(f"No worker for {name} is in service right now: try again.", retry_after=_RETRY_SECONDS)

    def _enter(self, state: Literal["ready", "leaving", "draining"]) -> None:
        self._state = state
        self.update()
