from pathlib import Path

from PIL import Image

from loadtests.engines import Result, plot, table


def result(**changes: object) -> Result:
    """As `segserve bench engine --json` prints it."""
    return {
        "model": "eseg-lite-s",
        "size": [360, 480],
        "eager_ms": 50.0,
        "engine_ms": 10.0,
        "speedup": 5.0,
        "label_agreement": 0.99,
        "dtype": "int8",
        "network_ms": 8.25,
        "network_tflops": 0.36,
        "conv_peak_tflops": 0.46,
        "eager_upsample_ms": 20.0,
        "upsample_ms": 0.5,
        "upsample_speedup": 40.0,
        "random_eager_upsample_ms": 22.0,
        "random_upsample_ms": 1.1,
        "random_upsample_speedup": 20.0,
        "openvino_ms": 16.0,
        "torch_compile_ms": 26.0,
    } | changes


def test_a_row_compares_with_the_best_of_the_others() -> None:
    *_, row = table([result()]).splitlines()
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[:8] == ["eseg-lite-s, 360 x 480", "10", "16", "26", "-", "50", "5.0 x", "1.6 x"]
    assert cells[8:] == ["99.0%", "8.2 ms, int8", "0.36 of 0.46", "20 to 0.5, 40 x", "22 to 1.1, 20 x"]


def test_every_row_has_a_cell_a_column() -> None:
    lines = table([result(), result(onnxruntime_ms=None)]).splitlines()
    assert len({line.count("|") for line in lines}) == 1


def test_the_plot_is_a_picture(tmp_path: Path) -> None:
    plot([result(), result(model="spinenet-s49", onnxruntime_ms=40.0)], tmp_path / "engines.png")
    with Image.open(tmp_path / "engines.png") as picture:
        assert picture.size == (1620, 450)
