"""How each server is installed, started and asked."""

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtests.photos import Photo
from loadtests.requests import Request, post
from loadtests.rivals.options import Options

REPOSITORY = Path(__file__).parents[2]
ENVIRONMENTS = REPOSITORY / ".venv-rivals"


@dataclass(frozen=True, slots=True)
class Rival:
    """module: of this package, and the name of its environment and of its file of pinned requirements.

    encode: a photo as the body that this server wants. resolves: pip may resolve dependencies, within the project's
    constraints; otherwise the pinned list is complete and installed as it is.
    """

    name: str
    module: str
    path: str
    ready_path: str
    content_type: str
    encode: Callable[[bytes], bytes]
    resolves: bool = False

    @property
    def environment(self) -> Path:
        return ENVIRONMENTS / self.module

    @property
    def python(self) -> Path:
        return self.environment / "bin" / "python"

    @property
    def requirements(self) -> Path:
        return Path(__file__).parent / "requirements" / f"{self.module}.txt"

    def command(self, options: Options) -> Sequence[str]:
        return [str(self.python), "-m", f"loadtests.rivals.{self.module}", *options.arguments]

    def request(self, photo: Photo) -> Request:
        return Request(post(self.path, self.encode(photo.body), {"Content-Type": self.content_type}))


def _raw(body: bytes) -> bytes:
    return body


def _litserve(body: bytes) -> bytes:
    return json.dumps({"image": _base64(body)}).encode()


def _bentoml(body: bytes) -> bytes:
    return json.dumps({"photos": [_base64(body)]}).encode()


def _mlserver(body: bytes) -> bytes:
    photo = {
        "name": "photo",
        "shape": [1, 1],
        "datatype": "BYTES",
        "parameters": {"content_type": "base64"},
        "data": [_base64(body)],
    }
    return json.dumps({"inputs": [photo]}).encode()


def _base64(body: bytes) -> str:
    return base64.b64encode(body).decode("ascii")


RIVALS = (
    Rival("LitServe", "litserve", "/predict", "/health", "application/json", _litserve),
    Rival("Ray Serve", "ray_serve", "/predict", "/-/healthz", "application/octet-stream", _raw),
    Rival("BentoML", "bentoml", "/predict", "/readyz", "application/json", _bentoml),
    Rival("MLServer", "mlserver", "/v2/models/fake/infer", "/v2/models/fake/ready", "application/json", _mlserver),
    Rival("TorchServe", "torchserve", "/predictions/fake", "/ping", "application/octet-stream", _raw, resolves=True),
)
