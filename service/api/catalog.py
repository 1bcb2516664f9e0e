"""GET /models and /labelsets: what is served, and what its labels mean."""

from collections.abc import Callable, Sequence
from dataclasses import asdict

from fastapi import APIRouter, Request

import models.labelsets as labelsets
from service.api.openapi import problems
from service.api.schemas import LabelSet, Model, ModelVersions
from service.backends.base import ModelInfo
from service.errors import UnknownLabelSet, UnknownModel
from service.pipeline import Pipeline

router = APIRouter()


def find_model(name: str, served: Sequence[ModelInfo], hosts: Callable[[str], bool] = lambda _: True) -> ModelInfo:
    """NAME (its newest version, of those that a device hosts right now) or NAME@VERSION. Raises UnknownModel."""
    matches = [m for m in served if name in (m.name, m.id)]
    if not matches:
        known = ", ".join(m.id for m in served) or "none"
        raise UnknownModel(f"There is no model '{name}': this service has {known}.")
    return max(matches, key=lambda m: (hosts(m.id), m.version))


@router.get("/models")
async def list_models(request: Request) -> list[ModelVersions]:
    """The models that are served."""
    pipeline: Pipeline = request.app.state.pipeline
    names = dict.fromkeys(model.name for model in pipeline.backend.models)
    return [_versions(name, pipeline) for name in names]


@router.get("/models/{name}", responses=problems(404, 422, 503))
async def show_model(name: str, request: Request) -> ModelVersions:
    """One model: its versions, with the hash, licence and scores of their weights."""
    pipeline: Pipeline = request.app.state.pipeline
    if not pipeline.backend.models:
        # Which there are, the first worker will tell.
        pipeline.lifecycle.require_service()
    return _versions(find_model(name, pipeline.backend.models).name, pipeline)


@router.get("/labelsets")
async def list_label_sets() -> list[LabelSet]:
    """The label sets, with their classes."""
    return [_label_set(name) for name in labelsets.names()]


@router.get("/labelsets/{name}", responses=problems(404, 422))
async def show_label_set(name: str) -> LabelSet:
    """One label set."""
    return _label_set(name)


def _versions(name: str, pipeline: Pipeline) -> ModelVersions:
    default = pipeline.settings.model.partition("@")[0]
    versions = [Model(**(asdict(m) | {"version": str(m.version)})) for m in pipeline.backend.models if m.name == name]
    return ModelVersions(name=name, default=name == default, versions=versions)


def _label_set(name: str) -> LabelSet:
    try:
        return LabelSet.model_validate(asdict(labelsets.load(name)))
    except labelsets.UnknownLabelSetError:
        raise UnknownLabelSet(
            f"There is no label set '{name}': this service has {', '.join(labelsets.names())}."
        ) from None
