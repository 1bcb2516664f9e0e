"""LitServe: ZeroMQ queues, no batch delay, base64 in JSON as in its own benchmark; `timeout` for the deadline."""

import base64
from collections.abc import Sequence
from typing import Any

import litserve

from loadtests.loopback import HOST
from loadtests.rivals.options import inherited, parse
from loadtests.rivals.work import load


class Model(litserve.LitAPI):
    """JPEG in, what the work makes of it out."""

    def setup(self, device: str) -> None:  # noqa: ARG002 (LitServe's signature)
        self.work = load(inherited())

    def decode_request(self, request: dict[str, str]) -> bytes:
        return base64.b64decode(request["image"])

    def batch(self, inputs: list[bytes]) -> list[bytes]:
        return inputs

    def predict(self, x: list[bytes]) -> Sequence[bytes]:
        return self.work.run(x)

    def unbatch(self, output: Sequence[bytes]) -> Sequence[bytes]:
        return output

    def encode_response(self, output: bytes) -> dict[str, Any]:
        return {"labels": base64.b64encode(output).decode()}


def main() -> None:
    options = parse()
    server = litserve.LitServer(
        Model(max_batch_size=options.batch, batch_timeout=0.0),
        accelerator="cpu",
        workers_per_device=options.workers,
        fast_queue=True,
        timeout=options.wait_seconds or 30,
    )
    server.run(host=HOST, port=options.port, log_level="warning", generate_client_file=False)


if __name__ == "__main__":
    main()
