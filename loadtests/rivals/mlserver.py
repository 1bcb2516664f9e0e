"""MLServer: in one process, its adaptive batches after at most 5 ms, base64 in JSON. It knows no deadline."""

import asyncio

import mlserver
from mlserver.settings import ModelParameters
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput

from loadtests.device import MAX_BATCH, SleepingDevice
from loadtests.loopback import HOST, free_port
from loadtests.rivals.options import parse

BATCH_DELAY_SECONDS = 0.005


class FakeModel(mlserver.MLModel):
    """Answers with the size of the batch that a photo was in."""

    async def load(self) -> bool:
        self.sleeping = SleepingDevice()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        photos = payload.inputs[0].shape[0]
        await asyncio.to_thread(self.sleeping.run, photos)
        output = ResponseOutput(name="batch", shape=[photos, 1], datatype="INT64", data=[photos] * photos)
        return InferenceResponse(model_name=self.name, outputs=[output])


async def serve() -> None:
    options = parse()
    settings = mlserver.Settings(
        host=HOST,
        http_port=options.port,
        grpc_port=free_port(),
        metrics_endpoint=None,
        parallel_workers=0,
        debug=False,
        load_models_at_startup=False,
    )
    server = mlserver.MLServer(settings)
    model = mlserver.ModelSettings(
        name="fake",
        implementation=FakeModel,
        max_batch_size=MAX_BATCH,
        max_batch_time=BATCH_DELAY_SECONDS,
        parameters=ModelParameters(version="1"),
    )
    await server.start([model])


if __name__ == "__main__":
    asyncio.run(serve())
