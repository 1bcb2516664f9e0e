"""A Ray cluster of two nodes on this machine, of which an actor's process and then a whole node is killed."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import psutil
import pytest

from labeling import status
from labeling.store import open_store
from loadtests.loopback import free_port
from tests.labeling.drawings import draw_folder
from tests.labeling.jobs import files, results
from tests.labeling.processes import finish, label_process
from tests.labeling.serving import serving
from tests.service.gateway import PATIENCE

RAY = Path(sys.executable).with_name("ray")
# Named, because a head takes up the token that it finds in the home directory, and the node that joins it doesn't.
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "of-this-cluster-alone-0123456789abcdef"}
PHOTOS = int(os.environ.get("BATCH_RAY_PHOTOS", "120"))
# On a busy machine.
JOB_SECONDS = 2 * PATIENCE

pytestmark = pytest.mark.timeout(900)


@dataclass
class Cluster:
    """Two nodes; the second one has nothing but workers, and a GPU by its own account."""

    address: str
    dashboard: int
    """Its port."""
    first: psutil.Popen
    second: psutil.Popen

    def workers(self) -> list[psutil.Process]:
        """The processes of actors of ours, wherever they run."""
        found = []
        for node in (self.first, self.second):
            with contextlib.suppress(psutil.NoSuchProcess):
                found += [child for child in node.children(recursive=True) if "RayWorker" in _title(child)]
        return found

    def kill_second_node(self) -> None:
        """Its raylet and all that it started, at once."""
        for process in [*self.second.children(recursive=True), self.second]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """For those who leave it as they found it: starting one takes ten seconds."""
    with _running(tmp_path_factory.mktemp("ray") / "ray.log") as cluster:
        yield cluster


@pytest.fixture
def doomed_cluster(tmp_path: Path) -> Iterator[Cluster]:
    with _running(tmp_path / "ray.log") as cluster:
        yield cluster


@contextlib.contextmanager
def _running(log: Path) -> Iterator[Cluster]:
    # Paths of sockets must be short, which pytest's folders are not.
    with TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder, log.open("wb") as output:
        port, dashboard = free_port(), free_port()
        node = (RAY, "start", "--num-cpus=1", "--object-store-memory=80000000", "--block")
        shown = ("--include-dashboard=true", f"--dashboard-port={dashboard}")
        head = (*node, "--num-gpus=0", "--head", f"--port={port}", f"--temp-dir={folder}", *shown)
        address = f"127.0.0.1:{port}"
        second = (*node, "--num-gpus=1", f"--address={address}")
        environment = os.environ | TOKEN | {"RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
        processes: list[psutil.Popen] = []
        try:
            for command in (head, second):
                processes.append(psutil.Popen(list(map(str, command)), stdout=output, stderr=output, env=environment))
                _until_started(log, len(processes), processes[-1])
            yield Cluster(address, dashboard, *processes)
        finally:
            _kill(processes)


def _kill(processes: list[psutil.Popen]) -> None:
    """With all that they started."""
    everything = [child for process in processes for child in _family(process)]
    for process in everything:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(everything, timeout=PATIENCE)
    for started in processes:
        started.wait()


def _family(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [*process.children(recursive=True), process]
    except psutil.NoSuchProcess:
        return []


def _until_started(log: Path, nodes: int, process: psutil.Popen) -> None:
    for _ in range(PATIENCE * 10):
        if log.read_text().count("Ray runtime started.") == nodes:
            return
        assert process.poll() is None, log.read_text()
        time.sleep(0.1)
    raise TimeoutError(log.read_text())


def test_neither_a_worker_nor_a_node_takes_a_photo_with_it(doomed_cluster: Cluster, tmp_path: Path) -> None:
    photos = draw_folder(tmp_path / "photos", PHOTOS)
    (photos / "00003.jpg").write_bytes(b"not a photo")
    out, log = tmp_path / "out", tmp_path / "log"
    service = ("--model", "fake", "--shard-rows", 4)
    with serving() as (url, _):
        finish(log, photos, "--out", tmp_path / "undisturbed", *service, "--endpoint", url)
    # So slow, most of a minute in all, that work is left for the second actor, however late it starts.
    with serving(seconds=60 / PHOTOS) as (url, _):
        port = free_port()
        ray = ("--runner", "ray", "--ray-address", doomed_cluster.address)
        arguments = (photos, "--out", out, *service, "--endpoint", url, *ray)
        with label_process(log, *arguments, "--metrics-port", port, **TOKEN) as process:
            _until_committed(out, 3, process, log)
            _until(lambda: len(doomed_cluster.workers()) == 2, process, log)
            doomed_cluster.workers()[0].kill()
            _until_committed(out, 8, process, log)
            _until(lambda: _shown_as_committed(port) >= 8, process, log)
            doomed_cluster.kill_second_node()
            assert process.wait(JOB_SECONDS) == 0, log.read_text()
    assert "another one takes over" in log.read_text()
    assert results(out) == results(tmp_path / "undisturbed")
    assert len(results(out)) == PHOTOS
    assert len(files(out / "labels")) == len(files(out / "status")) == -(-PHOTOS // 4)
    assert (out / "_SUCCESS").exists()


def test_an_idle_actor_takes_over_what_a_node_dies_at(doomed_cluster: Cluster, tmp_path: Path) -> None:
    """For it holds the only place there is."""
    photos, out, log = draw_folder(tmp_path / "photos", 2), tmp_path / "out", tmp_path / "log"
    drawn = {path: path.read_bytes() for path in sorted(photos.iterdir())}
    with contextlib.ExitStack() as pipes, serving() as (url, _):
        writers = {}
        for path in drawn:
            path.unlink()
            os.mkfifo(path)
            # Opened for both, else a reader has no descriptor to be found by until somebody writes.
            writers[path] = pipes.enter_context(os.fdopen(os.open(path, os.O_RDWR), "wb", buffering=0))
        service = ("--model", "fake", "--endpoint", url, "--shard-rows", 1)
        arguments = (photos, "--out", out, *service, "--runner", "ray", "--ray-address", doomed_cluster.address)
        with label_process(log, *arguments, **TOKEN) as process:
            first, second = doomed_cluster.first, doomed_cluster.second
            _until(lambda: len(_read_by(first, writers)) == len(_read_by(second, writers)) == 1, process, log)
            (done,) = _read_by(first, writers)
            writers[done].write(drawn[done])
            writers[done].close()
            _until_committed(out, 1, process, log)
            for path, content in drawn.items():
                path.unlink()
                path.write_bytes(content)
            doomed_cluster.kill_second_node()
            assert process.wait(JOB_SECONDS) == 0, log.read_text()
    assert "another one takes over" in log.read_text()
    assert [row["error_code"] for row, _ in results(out).values()] == [None, None]


def _read_by(node: psutil.Process, paths: Iterable[Path]) -> list[Path]:
    """Those that the node's processes have open."""
    found = set()
    for child in node.children(recursive=True):
        with contextlib.suppress(OSError):
            found |= {os.readlink(link) for link in Path(f"/proc/{child.pid}/fd").iterdir()}
    return [path for path in paths if str(path) in found]


def test_an_actor_asks_for_no_more_cores_than_a_gpu_has_beside_it(cluster: Cluster, tmp_path: Path) -> None:
    photos, out, log = draw_folder(tmp_path / "photos", 1), tmp_path / "out", tmp_path / "log"
    with serving() as (url, _):
        finish(log, photos, "--out", out, "--model", "fake", "--endpoint", url)
    # Placed as an engine is, but in need of none.
    arguments = ("--resume", "--out", out, "--export", "png", "--runner", "ray", "--ray-address", cluster.address)
    with label_process(log, *arguments, **TOKEN) as process:
        assert process.wait(JOB_SECONDS) == 0, log.read_text()
    assert [Path(name).name for name in files(out / "exports/png")] == ["00000.jpg.png"]


def test_who_stops_it_blames_no_photo(cluster: Cluster, tmp_path: Path) -> None:
    photos, out, log = draw_folder(tmp_path / "photos", 4), tmp_path / "out", tmp_path / "log"
    os.mkfifo(photos / "zz.jpg")  # Reading it waits for a writer.
    with serving() as (url, _):
        service = ("--model", "fake", "--endpoint", url, "--shard-rows", 5)
        arguments = (photos, "--out", out, *service, "--runner", "ray", "--ray-address", cluster.address)
        with label_process(log, *arguments, **TOKEN) as process:
            _until(lambda: bool(list(out.glob("working/*/*.json"))), process, log)
            process.send_signal(signal.SIGINT)
            assert process.wait(JOB_SECONDS) == 130, log.read_text()
    assert not list(out.glob("working/*/*"))


def test_results_that_a_node_cannot_reach_are_told_where_they_may_lie(cluster: Cluster, tmp_path: Path) -> None:
    photos, out, log = draw_folder(tmp_path / "photos", 1), tmp_path / "out", tmp_path / "log"
    out.mkdir()
    (out / "labels").write_bytes(b"in the way")
    with serving() as (url, _):
        service = ("--model", "fake", "--endpoint", url)
        arguments = (photos, "--out", out, *service, "--runner", "ray", "--ray-address", cluster.address)
        with label_process(log, *arguments, **TOKEN) as process:
            assert process.wait(JOB_SECONDS) == 1, log.read_text()
    assert f"{out} must be a folder that all nodes share, or --out a bucket" in log.read_text()


def test_a_cluster_that_asks_for_another_token_is_named_and_how_to_give_it(cluster: Cluster, tmp_path: Path) -> None:
    photos, log = draw_folder(tmp_path / "photos", 1), tmp_path / "log"
    other = TOKEN | {"RAY_AUTH_TOKEN": "of-another-cluster"}
    arguments = (photos, "--out", tmp_path / "out", "--runner", "ray", "--ray-address", cluster.address)
    with label_process(log, *arguments, **other, RAY_NUM_REDIS_GET_RETRIES="2") as process:
        assert process.wait(JOB_SECONDS) == 1, log.read_text()
    message = log.read_text().splitlines()[-1]
    assert cluster.address in message
    assert "RAY_AUTH_TOKEN" in message


def test_a_head_has_the_dashboard_through_which_kuberay_starts_jobs(cluster: Cluster) -> None:
    url = f"http://127.0.0.1:{cluster.dashboard}/api/jobs/"
    headers = {"Authorization": f"Bearer {TOKEN['RAY_AUTH_TOKEN']}"}
    jobs = httpx.get(url, headers=headers, timeout=PATIENCE, trust_env=False)
    assert jobs.status_code == 200, jobs.text
    assert httpx.get(url, timeout=PATIENCE, trust_env=False).status_code == 401


def _shown_as_committed(port: int) -> float:
    """Shards, by the metrics of the process that runs the job."""
    metrics = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE, trust_env=False).text
    return float(metrics.split('segserve_label_shards{state="committed"} ')[1].split()[0])


def _until_committed(out: Path, shards: int, process: subprocess.Popen[bytes], log: Path) -> None:
    _until(lambda: len(status.committed(open_store(str(out)))) >= shards, process, log)


def _until(condition: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(PATIENCE * 50):
        if condition():
            return
        assert process.poll() is None, log.read_text()
        time.sleep(0.02)
    raise TimeoutError(log.read_text())
