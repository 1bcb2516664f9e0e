"""LitServe: ZeroMQ queues, no batch delay, base64 in JSON as in its own benchmark; `timeout` for the deadline."""

import base64
from typing import Any

import litserve

from loadtests.device import MAX_BATCH, SleepingDevice
from loadtests.loopback import HOST
from loadtests.rivals.options import parse


class FakeModel(litserve.LitAPI):
    """Answers with the size of the batch that a photo was in."""

    def setup(self, device: str) -> None:  # noqa: ARG002 (LitServe's signature)
        self.sleeping = SleepingDevice()

    def decode_request(self, request: dict[str, str]) -> bytes:
        return base64.b64decode(request["image"])

    def batch(self, inputs: list[bytes]) -> list[bytes]:
        return inputs

    def predict(self, x: list[bytes]) -> list[int]:
        self.sleeping.run(len(x))
        return [len(x)] * len(x)

    def unbatch(self, output: list[int]) -> list[int]:
        return output

    def encode_response(self, output: int) -> dict[str, Any]:
        return {"batch": output}


def main() -> None:
    options = parse()
    server = litserve.LitServer(
        FakeModel(max_batch_size=MAX_BATCH, batch_timeout=0.0),
        accelerator="cpu",
        workers_per_device=1,
        fast_queue=True,
        timeout=options.wait_seconds or 30,
    )
    server.run(host=HOST, port=options.port, log_level="warning", generate_client_file=False)


if __name__ == "__main__":
    main()
