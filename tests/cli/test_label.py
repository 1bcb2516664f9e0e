"""The command, with real worker processes and a small engine."""

import json
import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest
from click.testing import CliRunner, Result

from cli.main import main
from images import decode, decode_label_map
from labeling.job import load_job
from labeling.shard import Unit
from labeling.store import open_store
from models.engine.loading import find, load_engine
from tests.labeling.brightness import BrightnessLabeler
from tests.labeling.drawings import draw
from tests.labeling.jobs import files, label_unit, planned, results, rows
from tests.labeling.processes import label_process
from tests.labeling.serving import serving
from tests.service.gateway import PATIENCE


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def label(*arguments: object) -> Result:
    unset: dict[str, str | None] = {name: None for name in os.environ if name.startswith("SEGSERVE_")}
    runner = CliRunner(env=unset)
    return runner.invoke(main, ["label", *map(str, arguments)])


def facts(result: Result) -> dict[str, Any]:
    """What --json printed."""
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_a_folder_is_labelled_as_the_engine_labels(photos: Path, out: Path, checkpoint_dir: Path) -> None:
    result = label(
        photos, "--out", out, "--model", "tiny", "--model-dir", checkpoint_dir, "--shard-rows", 3, "--export", "png"
    )
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{out}: complete; 7 of 8 photos labelled, damaged-image 1\n"
    assert "8 photos in 3 shards, model tiny@1" in result.stderr
    engine = load_engine(find("tiny", checkpoint_dir))
    for image_id, (row, png) in results(out).items():
        if png is None:
            assert image_id == "cut.jpg"
            continue
        photo = decode((photos / image_id).read_bytes(), max_pixels=10**6)
        [expected] = engine.run([photo], confidence=True)
        assert expected.confidence is not None
        assert (decode_label_map(png) == expected.labels).all()
        assert row["engine"] == f"compiled {str(engine.network.dtype).removeprefix('torch.')}"
        assert row["confidence"] == pytest.approx(expected.confidence.mean() / 255)
        assert row["share_road"] == pytest.approx(expected.pixels[3] / expected.labels.size)
        assert (out / f"exports/png/{image_id}.png").read_bytes() == png
    assert {"_SUCCESS", "summary.json", "report.html", "job.json"} <= set(files(out))
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["ok"], summary["errors"], summary["complete"]) == (7, {"damaged-image": 1}, True)
    assert list(summary["engines"].values()) == [7]
    assert "warning" not in result.stderr
    assert sum(summary["class_shares"].values()) == pytest.approx(1)


def test_a_job_of_several_engines_is_warned_of(photos: Path, out: Path) -> None:
    job, store = planned(photos, out)
    label_unit(job, store, Unit(0), BrightnessLabeler(engine="compiled int8"))
    assert "warning" not in label("--status", "--out", out).stderr
    label_unit(job, store, Unit(1), BrightnessLabeler(engine="eager bfloat16"))
    result = label("--status", "--out", out, "--json")
    assert facts(result)["engines"] == {"compiled int8": 3, "eager bfloat16": 4}
    assert "more than one engine labelled these photos (eager bfloat16 4, compiled int8 3)" in result.stderr
    assert {row["image_id"]: row["engine"] for row in rows(store)}["cut.jpg"] == "compiled int8"


def test_the_way_of_a_job_through_a_service(photos: Path, out: Path) -> None:
    """Planned, labelled in parts, asked about, failed rows tried once more, exported."""
    with serving() as (url, _):
        service = ("--out", out, "--endpoint", url, "--json")
        assert label(photos, *service, "--model", "fake", "--shard-rows", 3, "--plan").stdout == ""
        assert facts(label("--status", "--out", out, "--json"))["shards_done"] == 0

        part = label("--resume", *service, "--index", 1, "--index-count", 2)
        assert (part.exit_code, part.stdout) == (0, "")
        assert "2 of 3 shards are open; the index that ends last finishes the job" in part.stderr
        status = facts(label("--status", "--out", out, "--json"))
        assert (status["shards_done"], status["shards"], status["complete"], status["ok"]) == (1, 3, False, 3)
        assert label("--status", "--out", out).stdout.endswith("1 of 3 shards done; 3 of 8 photos labelled\n")
        assert not (out / "_SUCCESS").exists()

        done = facts(label("--resume", *service, "--index", 0, "--index-count", 2))
        assert (done["complete"], done["ok"], done["errors"]) == (True, 7, {"damaged-image": 1})
        assert facts(label("--resume", *service, "--index", 7)) == done

        before = results(out)
        (photos / "cut.jpg").write_bytes(draw(0))
        retried = facts(label("--retry-failed", *service, "--export", "png", "--export", "coco"))
        assert (retried["ok"], retried["errors"]) == (8, {})
        after = results(out)
        assert {name for name in after if after[name] != before[name]} == {"cut.jpg"}
        assert (out / "exports/png/cut.jpg.png").read_bytes() == after["cut.jpg"][1]
        again = label("--retry-failed", *service)
        assert facts(again) == retried
    assert Counter(name.split("/")[0] for name in files(out))["status"] == 4


def test_running_it_again_does_nothing_twice(photos: Path, out: Path) -> None:
    with serving() as (url, _):
        arguments = (photos, "--out", out, "--endpoint", url, "--model", "fake", "--shard-rows", 3)
        first = label(*arguments)
        stamps = {path: path.stat().st_mtime_ns for path in (out / "status").iterdir()}
        assert label(*arguments).stdout == first.stdout
        assert {path: path.stat().st_mtime_ns for path in (out / "status").iterdir()} == stamps


def test_another_job_does_not_mix(photos: Path, out: Path) -> None:
    with serving() as (url, _):
        service = ("--out", out, "--endpoint", url)
        label(photos, *service, "--model", "fake@1")
        other = label(photos, *service, "--model", "fake@2")
        assert other.exit_code == 1
        assert "its model is fake@1, not fake@2" in other.stderr
        resumed = label("--resume", *service, "--model", "fake@2")
        assert resumed.exit_code == 1
        assert "labels with fake@1: choose another --out" in resumed.stderr


def test_too_many_failures_have_an_exit_status_of_their_own(tmp_path: Path, out: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(120):
        (folder / f"{number:03}.jpg").write_bytes(b"no photo")
    with serving() as (url, _):
        arguments = (folder, "--out", out, "--endpoint", url, "--model", "fake", "--shard-rows", 120)
        stopped = label(*arguments)
        assert stopped.exit_code == 3
        assert "more than --max-failure-rate 0.05): not-an-image" in stopped.stderr
        assert label(*arguments, "--max-failure-rate", 1).exit_code == 0
    assert len(rows(open_store(str(out)))) == 120


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_stops_it_blames_no_photo_and_the_same_command_goes_on(
    number: signal.Signals, photos: Path, out: Path, tmp_path: Path
) -> None:
    os.mkfifo(photos / "zz.jpg")  # Reading it waits for a writer.
    with serving() as (url, _):
        arguments = (photos, "--out", out, "--endpoint", url, "--model", "fake", "--shard-rows", 4)
        with label_process(tmp_path / "log", *arguments) as process:
            while not list((out / "working").glob("*/*")):
                assert process.poll() is None
                time.sleep(0.1)
            process.send_signal(number)
            assert process.wait(PATIENCE) == 130
        assert not list((out / "working").glob("*/*"))
        assert "the same command goes on from here" in (tmp_path / "log").read_text()
        (photos / "zz.jpg").unlink()
        (photos / "zz.jpg").write_bytes(draw(5))
        assert label(*arguments).exit_code == 0
    assert len(results(out)) == 9


def test_ctrl_c_while_it_plans_is_an_interruption_too(out: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.jsonl")  # Reading it waits for a writer.
    with serving() as (url, _):
        arguments = (tmp_path / "m.jsonl", "--out", out, "--endpoint", url, "--model", "fake")
        with label_process(tmp_path / "log", *arguments) as process:
            writing = os.open(tmp_path / "m.jsonl", os.O_WRONLY)  # Waits until it is opened.
            time.sleep(1)  # And read: a signal just before that would be heard only once something is written.
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE) == 130
            os.close(writing)
    assert "stopped: the same command goes on" in (tmp_path / "log").read_text()


def test_workers_are_as_many_as_the_cores_that_are_given(out: Path, tmp_path: Path, checkpoint_dir: Path) -> None:
    """In a container the machine's cores are not its own: OMP_NUM_THREADS says how many are."""
    (tmp_path / "photos").mkdir()
    for number in range(4):
        os.mkfifo(tmp_path / f"photos/{number}.jpg")  # Whose reader waits, so that all workers are at work.
    model = ("--model", "tiny", "--model-dir", checkpoint_dir, "--shard-rows", 1)
    arguments = (tmp_path / "photos", "--out", out, *model)
    with label_process(tmp_path / "log", *arguments, OMP_NUM_THREADS="3") as process:
        for _ in range(PATIENCE * 50):
            begun = list((out / "working").glob("*/*"))
            if len(begun) == 3:
                break
            assert process.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.1)
        workers = [child for child in psutil.Process(process.pid).children() if "spawn_main" in str(child.cmdline())]
        assert len(workers) == len(begun) == 3


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ([], 2, "name a MANIFEST, or --resume, --retry-failed or --status"),
        (["--status"], 1, "holds no job: start one with `segserve label MANIFEST --out"),
        (["--resume"], 1, "holds no job"),
        (["--retry-failed"], 1, "holds no job"),
        (["nowhere"], 1, "nowhere is neither a folder nor a manifest"),
        (["."], 1, "no weights for model 'lane'"),
        ([".", "--endpoint", "http://127.0.0.1:1"], 1, "does not answer"),
        ([".", "--max-failure-rate", "2"], 2, "--max-failure-rate"),
        ([".", "--export", "voc"], 2, "--export"),
        ([".", "--index", "4", "--index-count", "4"], 2, "the parts of --index-count 4 begin with 0"),
    ],
)
def test_mistakes_are_told(arguments: list[str], status: int, message: str, out: Path) -> None:
    model = [] if arguments[:1] == ["nowhere"] else ["--model", "lane"]
    result = label(*arguments, "--out", out, *model)
    assert result.exit_code == status
    assert message in result.stderr.replace("\n", " ")


@pytest.mark.parametrize("way", ["--resume", "--retry-failed", "--status"])
@pytest.mark.parametrize(
    ("given", "advice"),
    [
        (["."], "leave out MANIFEST, or leave out {way} to label it"),
        (["--long-side", "640"], "the job's --long-side is what it was planned with: leave it out, or"),
        (["--shard-rows", "1000"], "the job's --shard-rows is what it was planned with: leave it out, or"),
    ],
)
def test_what_a_job_that_goes_on_cannot_heed_is_told(
    way: str, given: list[str], advice: str, photos: Path, out: Path
) -> None:
    planned(photos, out)
    result = label(way, *given, "--out", out)
    assert result.exit_code == 2
    assert advice.format(way=way) in " ".join(result.stderr.split())


def test_cityscapes_is_refused_before_any_work(photos: Path, out: Path, checkpoint_dir: Path) -> None:
    result = label(photos, "--out", out, "--model", "tiny", "--model-dir", checkpoint_dir, "--export", "cityscapes")
    assert result.exit_code == 1
    assert "needs a model with the label set cityscapes19" in result.stderr
    assert load_job(open_store(str(out))) is None
