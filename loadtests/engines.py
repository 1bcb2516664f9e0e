"""The engine on several networks and sizes, beside what else runs them: python -m loadtests.engines [--out DIR].

Each pair is one run of `segserve bench engine --json`, in which all take turns. Prints the table of docs/performance.md
and draws its plot.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from loadtests import report

CASES = (
    ("eseg-lite-s", "1024x2048"),
    ("eseg-lite-s", "360x480"),
    ("mobile-spinenet-s49", "1024x2048"),
    ("eseg-s", "1024x2048"),
    ("spinenet-s49", "512x512"),
)
# Milliseconds from photo to label map, by the bench's names.
WAYS = {
    "engine_ms": "segserve",
    "openvino_ms": "OpenVINO",
    "torch_compile_ms": "torch.compile",
    "onnxruntime_ms": "ONNX Runtime",
    "eager_ms": "plain PyTorch",
}
Result = dict[str, Any]


def bench(model: str, size: str, rounds: int) -> Result:
    """What `segserve bench engine --json` says. Raises CalledProcessError."""
    command = [str(Path(sys.executable).with_name("segserve")), "bench", "engine", "--json"]
    command += ["--model", model, "--size", size, "--rounds", str(rounds)]
    found: Result = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return found


def table(results: Sequence[Result]) -> str:
    """Markdown, a row a result."""
    header = [
        "",
        *(f"{name}, ms" for name in WAYS.values()),
        "against plain PyTorch",
        "against the best other",
        "labels equal",
        "network",
        "TFLOP/s, of the peak",
        "upsampling, ms",
        "of random logits, ms",
    ]
    return report.table(header, [_row(result) for result in results])


def _row(result: Result) -> list[report.Cell]:
    best_other = min(result[way] for way in WAYS if way != "engine_ms" and result.get(way))
    return [
        _name(result),
        *(result.get(way) for way in WAYS),
        f"{result['speedup']:.1f} x",
        f"{best_other / result['engine_ms']:.1f} x",
        f"{result['label_agreement']:.1%}",
        f"{result['network_ms']:.1f} ms, {result['dtype']}",
        f"{result['network_tflops']:.2f} of {result['conv_peak_tflops']:.2f}",
        _upsampling(result, ""),
        _upsampling(result, "random_"),
    ]


def plot(results: Sequence[Result], path: Path) -> None:
    """Write a PNG: times from photo to label map, the networks' speeds under the machine's peak, upsampling."""
    figure, (whole, network, upsampling) = plt.subplots(1, 3, figsize=(18, 5))
    names = [_name(each) for each in results]
    _bars(whole, names, {name: [each.get(way) or 0.0 for each in results] for way, name in WAYS.items()})
    whole.set_ylabel("ms from photo to label map, batch 1 (log)")
    _bars(network, names, {"network": [each["network_tflops"] for each in results]}, log=False)
    peak = max(each["conv_peak_tflops"] for each in results)
    network.axhline(peak, color="black", linestyle="--", label="this machine's convolution peak in bfloat16")
    network.set_ylabel("TFLOP/s of the compiled network")
    logits = {"real logits": "upsample_speedup", "random logits, the worst case": "random_upsample_speedup"}
    _bars(upsampling, names, {label: [each[key] for each in results] for label, key in logits.items()}, log=False)
    upsampling.set_ylabel("times as fast as interpolate + argmax")
    for axes in (whole, network, upsampling):
        axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    plt.close(figure)


def _bars(axes: Axes, names: Sequence[str], groups: dict[str, list[float]], *, log: bool = True) -> None:
    width = 0.8 / len(groups)
    for number, (label, values) in enumerate(groups.items()):
        axes.bar([i + (number - (len(groups) - 1) / 2) * width for i in range(len(names))], values, width, label=label)
    axes.set_xticks(range(len(names)), [name.replace(", ", "\n") for name in names], fontsize=7, rotation=12)
    if log:
        axes.set_yscale("log")


def _name(result: Result) -> str:
    height, width = result["size"]
    return f"{result['model']}, {height} x {width}"


def _upsampling(result: Result, kind: str) -> str:
    eager, ours = result[f"{kind}eager_upsample_ms"], result[f"{kind}upsample_ms"]
    return f"{eager:.0f} to {ours:.1f}, {result[f'{kind}upsample_speedup']:.0f} x"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", action="append", metavar="MODEL", help="may be repeated")
    parser.add_argument("--out", type=Path, default=Path("runs/engines"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    results = [bench(*case, options.rounds) for case in CASES if not options.only or case[0] in options.only]
    report.write_json(options.out / "engines.json", {"results": results})
    plot(results, options.out / "engines.png")
    print(table(results))  # noqa: T201 (the report)


if __name__ == "__main__":
    main()
