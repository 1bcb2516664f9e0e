"""What ships in models/weights/: small, documented, and of use."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from loadtests.street import street
from models.engine.cache import quantised_path
from models.engine.compilation import make_graph
from models.engine.loading import Checkpoint, load_engine, load_network
from models.labelsets import load as load_label_set
from models.weights.library import SHIPPED, find, library
from models.weights.quantised import read_quantised
from service.settings import Settings

CHECKPOINTS = library()


def test_the_default_model_ships() -> None:
    assert find(Settings.model_fields["model"].default) in CHECKPOINTS


@pytest.mark.parametrize("checkpoint", CHECKPOINTS, ids=lambda checkpoint: checkpoint.path.stem)
class TestEach:
    def test_is_named_as_its_card_says(self, checkpoint: Checkpoint) -> None:
        assert checkpoint.path == SHIPPED / f"{checkpoint.card.name}@{checkpoint.card.version}.safetensors"

    def test_is_small(self, checkpoint: Checkpoint) -> None:
        assert checkpoint.path.stat().st_size <= 10_000_000

    def test_sees_nearly_the_same_in_int8(self, checkpoint: Checkpoint) -> None:
        assert read_quantised(checkpoint)
        photo = [street(360, 480)]
        engines = [load_engine(checkpoint, dtype=dtype) for dtype in (torch.float32, torch.int8)]
        assert [engine.network.dtype for engine in engines] == [torch.float32, torch.int8]
        [exact], [rounded] = (engine.run(photo) for engine in engines)
        assert np.mean(exact.labels == rounded.labels) > 0.97

    def test_is_converted_once_a_machine(self, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
        load_engine(checkpoint)

        def refused(*_: object, **__: object) -> None:
            raise AssertionError("a conversion")

        monkeypatch.setattr("openvino.frontend.FrontEndManager.load_by_framework", refused)
        monkeypatch.setattr("openvino.convert_model", refused)
        assert load_engine(checkpoint).network.kind == "compiled"

    def test_labels_are_those_of_interpolation_and_argmax(self, checkpoint: Checkpoint) -> None:
        engine, photo = load_engine(checkpoint), street(360, 480)
        size = engine.input_size(360, 480)
        assert size.bucket == (size.height, size.width)  # No padding to crop.
        logits = engine.network(engine.batch([photo], [size], size.bucket)).double()
        [values] = F.interpolate(logits, (360, 480), mode="bilinear", align_corners=False)
        first, second = values.topk(2, dim=0).values
        clear = first - second > 1e-5 * logits.abs().max()
        [segmentation] = engine.run([photo])
        assert torch.equal(torch.from_numpy(segmentation.labels)[clear], values.argmax(0).to(torch.uint8)[clear])
        assert clear.float().mean() > 0.999

    def test_goes_without_int8_where_its_code_computes_something_else(
        self, checkpoint: Checkpoint, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        network = load_network(checkpoint)
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eps = 1e-2
        path = tmp_path / "changed" / "graph.xml"
        make_graph(network, checkpoint.card.preprocessing, path, read_quantised(checkpoint))
        assert path.exists()
        assert not quantised_path(path).exists()
        assert "make it again with `segserve quantise`" in caplog.text

    def test_has_a_model_card_with_its_scores_and_licence(self, checkpoint: Checkpoint) -> None:
        card = checkpoint.path.with_suffix(".md").read_text(encoding="utf-8")
        assert checkpoint.sha256 in card
        assert checkpoint.card.licence in card
        assert f"{checkpoint.card.scores['val_miou']:.1%}" in card
        for label in load_label_set(checkpoint.card.label_set).classes:
            assert f"| {label.name} |" in card

    def test_sees_a_street(self, checkpoint: Checkpoint) -> None:
        # A drawing is no photo: what it has to recognise is what a drawing shows best.
        [segmentation] = load_engine(checkpoint).run([street(360, 480)])
        names = [label.name for label in load_label_set(checkpoint.card.label_set).classes]
        assert np.mean(segmentation.labels[300:, 120:360] == names.index("road")) > 0.8
        assert np.mean(segmentation.labels[:30, :150] == names.index("sky")) > 0.8
        assert np.mean(segmentation.labels[170:250, 387:392] == names.index("pole")) > 0.8


def test_checkpoints_and_their_int8_graphs_are_the_only_binaries() -> None:
    assert {path.suffix for path in Path(SHIPPED).iterdir() if path.is_file()} <= {".safetensors", ".zip", ".md", ".py"}
