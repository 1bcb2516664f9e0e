"""Request parameters and answers as the OpenAPI document shows them."""

from pydantic import BaseModel, ConfigDict, Field

from service.answers import Output


class SegmentQuery(BaseModel):
    """Query parameters of POST /segment."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(None, description="NAME (its newest version) or NAME@VERSION; GET /models lists them.")
    output: Output | None = Field(None, description="What to answer with; without it the Accept header decides.")
    alpha: float = Field(0.5, ge=0, le=1, description="Strength of the colours in an overlay: 0 is the photo alone.")
    long_side: int | None = Field(
        None, ge=1, description="Scale the photo to this long side, in pixels, instead of the model's own."
    )
    timeout_ms: int | None = Field(None, ge=1, description="Deadline from the last body byte; clamped to the ceiling.")
    overlay: bool = Field(False, description="Put an overlay into a json answer.")
    confidence: bool = Field(False, description="Put confidences into a json answer.")


class Picture(BaseModel):
    """A file inside JSON."""

    media_type: str
    data: str = Field(description="Base64.")


class ClassShare(BaseModel):
    """A class that occurs in the photo."""

    id: int
    name: str
    color: tuple[int, int, int]
    pixels: int
    fraction: float = Field(description="Of the photo's pixels, 0..1.")
    confidence: float | None = Field(None, description="Mean over its pixels, 0..1; only with confidence=true.")


class SegmentationAnswer(BaseModel):
    """Labels of a photo, at its own size in display orientation."""

    model_config = ConfigDict(protected_namespaces=())

    model: str
    model_version: str
    label_set: str
    width: int
    height: int
    classes: list[ClassShare] = Field(description="Those present, largest first.")
    label_map: Picture = Field(description="Indexed PNG: pixel value = class id, palette = colours.")
    overlay: Picture | None = Field(description="Only with overlay=true.")
    confidence: Picture | None = Field(None, description="Grey PNG, 255 is certain; only with confidence=true.")
    timing_ms: dict[str, float] = Field(description="By stage: decode, queue, infer, encode.")


class Model(BaseModel):
    """A version of a model."""

    name: str
    version: str
    label_set: str
    input_size: tuple[int, int] = Field(description="Height and width of the photos that it was scored on.")
    long_side: int = Field(description="The long side at which the network sees larger photos.")
    licence: str = Field(description="What the weights may be used for.")
    data: str = Field(description="What the weights were trained on.")
    scores: dict[str, float]
    sha256: str = Field(description="Of the weights' file.")
    engine: str = Field(description="eager or compiled.")


class ModelVersions(BaseModel):
    """A model with its versions, oldest first."""

    name: str
    default: bool = Field(description="Whether it answers requests that name no model.")
    versions: list[Model]


class LabelClass(BaseModel):
    """A class of a label set. dataset_id: its value in the data set's own files."""

    id: int
    name: str
    color: tuple[int, int, int]
    dataset_id: int


class LabelSet(BaseModel):
    """What the values of a label map mean."""

    name: str
    title: str
    source: str
    ignore_value: int
    classes: list[LabelClass]


class Status(BaseModel):
    """Of the process."""

    status: str
