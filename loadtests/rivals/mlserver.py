"""MLServer: in one process, its adaptive batches after at most 5 ms, base64 in JSON. It knows no deadline."""

import asyncio
import base64

import mlserver
from mlserver.settings import ModelParameters
from mlserver.types import InferenceRequest, InferenceResponse, Parameters, ResponseOutput

from loadtests.loopback import HOST, free_port
from loadtests.rivals import work
from loadtests.rivals.options import inherited, parse

BATCH_DELAY_SECONDS = 0.005


class Model(mlserver.MLModel):
    """JPEG in, what the work makes of it out."""

    async def load(self) -> bool:
        self.work = work.load(inherited())
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        photos = [base64.b64decode(photo) for photo in payload.inputs[0].data]
        answers = await asyncio.to_thread(self.work.run, photos)
        output = ResponseOutput(
            name="labels",
            shape=[len(photos), 1],
            datatype="BYTES",
            parameters=Parameters(content_type="base64"),
            data=[base64.b64encode(answer).decode() for answer in answers],
        )
        return InferenceResponse(model_name=self.name, outputs=[output])


async def serve() -> None:
    options = parse()
    settings = mlserver.Settings(
        host=HOST,
        http_port=options.port,
        grpc_port=free_port(),
        metrics_endpoint=None,
        # Processes beside the server's own, where one would not do.
        parallel_workers=options.workers if options.workers > 1 else 0,
        debug=False,
        load_models_at_startup=False,
    )
    server = mlserver.MLServer(settings)
    model = mlserver.ModelSettings(
        name="fake",
        implementation=Model,
        max_batch_size=options.batch,
        max_batch_time=BATCH_DELAY_SECONDS,
        parameters=ModelParameters(version="1"),
    )
    await server.start([model])


if __name__ == "__main__":
    asyncio.run(serve())
