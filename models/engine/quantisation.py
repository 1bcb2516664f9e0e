"""A checkpoint's network in int8, calibrated on photos: NNCF's post-training quantisation.

Only the encoder (or backbone) is quantised: most of the multiply-adds are there, and what comes after it is sums of
maps, where changing number formats costs more time than int8 saves.
"""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

# Or else it would report its use over the network.
os.environ.setdefault("NNCF_CI", "1")

import nncf
import numpy as np
import openvino
import torch
from numpy.typing import NDArray

from models.engine.batch_norm_folding import fold_batch_norm
from models.engine.compilation import CompilationError, convert_normalised, is_quantised_of
from models.engine.compiled_network import CompiledNetwork
from models.engine.engine import Engine, Photo
from models.engine.loading import load_network
from models.engine.normalisation import Normalised
from models.weights.checkpoint import Checkpoint
from models.weights.quantised import QuantisedGraph

_ENCODERS = ("__module.network.encoder.", "__module.network.backbone.")


def quantise(checkpoint: Checkpoint, engine: Engine, photos: Sequence[Photo]) -> QuantisedGraph:
    """The int8 graph. engine: the checkpoint's, in any format. photos: some hundred that it was trained on.

    Raises CompilationError for a graph that is too far from the network to tell that it is its own.
    """
    network = Normalised(fold_batch_norm(load_network(checkpoint).eval()), checkpoint.card.preprocessing, torch.float32)
    model = convert_normalised(network)
    others = [op.get_friendly_name() for op in model.get_ops() if not op.get_friendly_name().startswith(_ENCODERS)]

    def seen(photo: Photo) -> NDArray[np.float32]:
        size = engine.input_size(photo.shape[0], photo.shape[1])
        pixels: NDArray[np.float32] = engine.batch([photo], [size], size.bucket).permute(0, 3, 1, 2).float().numpy()
        return np.ascontiguousarray(pixels)

    # Its own set_log_level changes every handler that its logger has, those of others too.
    logging.getLogger("nncf").setLevel(logging.WARNING)
    quantised = nncf.quantize(
        model,
        nncf.Dataset(photos, seen),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(photos),
        ignored_scope=nncf.IgnoredScope(names=others, validate=False),
    )
    with TemporaryDirectory() as folder:
        xml = Path(folder) / "graph.xml"
        openvino.serialize(quantised, xml)
        if not is_quantised_of(network, xml):
            raise CompilationError("int8 changes the logits by more than a tenth: calibrate with more --photos")
        return QuantisedGraph(xml.read_bytes(), xml.with_suffix(".bin").read_bytes())


def quantised_engine(checkpoint: Checkpoint, graph: QuantisedGraph) -> Engine:
    """An engine that runs `graph` as the service would."""
    with TemporaryDirectory() as folder:
        xml = Path(folder) / "graph.xml"
        xml.write_bytes(graph.xml)
        xml.with_suffix(".bin").write_bytes(graph.bin)
        return Engine(CompiledNetwork(xml, dtype=torch.int8), checkpoint.card.preprocessing)
