import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from labeling.errors import JobError
from labeling.store import DiskStore, Entry, Store, open_store


def test_what_is_written_is_read(anywhere: str) -> None:
    store = open_store(anywhere)
    store.write("a/b.bin", b"first")
    store.write("a/b.bin", b"0123456789")
    assert store.read("a/b.bin") == b"0123456789"
    assert store.read("a/b.bin", 3, 4) == b"3456"
    with store.local_copy("a/b.bin") as file:
        assert file.read() == b"0123456789"


def test_a_file_is_created_once(anywhere: str) -> None:
    store = open_store(anywhere)
    assert store.create("status/x", b"first")
    assert not store.create("status/x", b"second")
    assert store.read("status/x") == b"first"


def test_of_many_creators_one_wins(anywhere: str) -> None:
    store = open_store(anywhere)
    won: list[int] = []
    start = threading.Barrier(8)

    def create(number: int) -> None:
        start.wait()
        if store.create("x", str(number).encode()):
            won.append(number)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [str(number) for number in won] == [store.read("x").decode()]


def test_a_new_file_appears_when_it_is_whole(anywhere: str) -> None:
    store = open_store(anywhere)
    with store.new_file("labels/a.tar") as file:
        file.write(b"x" * 6_000_000)
        assert list(store.list("labels")) == []
    assert list(store.list("labels")) == [Entry("labels/a.tar", 6_000_000)]
    assert store.read("labels/a.tar") == b"x" * 6_000_000


def test_folders_that_another_process_removes_are_not_missed_while_leftovers_are_sought(tmp_path: Path) -> None:
    store = DiskStore(tmp_path)
    for number in range(9):
        (tmp_path / f"working/{number}").mkdir(parents=True)
        (tmp_path / f"working/{number}/.temporary-ab-{number}.json").write_bytes(b"half")
    leftovers = store.leftovers()
    found, *_ = next(leftovers)
    for folder in (tmp_path / "working").iterdir():
        if folder != (tmp_path / found).parent:
            shutil.rmtree(folder)
    assert list(leftovers) == []


def test_what_was_written_is_durable_once_it_is_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.readlink(f"/proc/self/fd/{handle}")))
    store = DiskStore(tmp_path)
    for path in ("made/a", "made/b", "made/a", "working/gone"):
        store.write(path, b"x")
    store.delete("working/gone")
    store.write("working/by others", b"x")
    shutil.rmtree(tmp_path / "working")
    assert synced == []
    store.flush()
    assert sorted(synced) == [str(tmp_path / path) for path in ("made", "made/a", "made/b")]
    store.flush()
    assert len(synced) == 3


def _half_written(store: Store) -> None:
    with store.new_file("labels/part-00000.ab.tar") as file:
        file.write(b"half")
        raise ZeroDivisionError


def test_a_new_file_that_fails_leaves_nothing(anywhere: str) -> None:
    store = open_store(anywhere)
    with pytest.raises(ZeroDivisionError):
        _half_written(store)
    assert list(store.list("labels")) == []
    assert list(store.leftovers()) == []


def test_what_is_not_there(anywhere: str) -> None:
    store = open_store(anywhere)
    with pytest.raises(FileNotFoundError):
        store.read("nothing")
    with pytest.raises(FileNotFoundError):
        store.read("nothing", 0, 10)
    with pytest.raises(FileNotFoundError), store.local_copy("nothing"):
        pass
    store.delete("nothing")
    assert list(store.list("nowhere")) == []


def test_lists_are_of_one_folder_in_order(anywhere: str) -> None:
    store = open_store(anywhere)
    for name in ("a/2", "a/10", "ab/1", "a/deep/1", "b"):
        store.write(name, b"12")
    assert [entry.path for entry in store.list("a")] == ["a/10", "a/2", "a/deep/1"]
    store.delete("a/2")
    assert [entry.size for entry in store.list("a")] == [2, 2]


def test_what_a_killed_writer_left_is_found(tmp_path: Path) -> None:
    store = DiskStore(tmp_path)
    with store.new_file("labels/part-00000.ab.tar") as file:
        file.write(b"half")
        assert list(store.list("labels")) == []
        [(leftover, wanted, age)] = store.leftovers()
        assert wanted == "labels/part-00000.ab.tar"
        assert age < 60
        assert tmp_path / leftover == Path(file.name)


WRITER = """
import sys, time
from labeling.store import open_store
store = open_store(sys.argv[1])
store.write("whole", bytes(100_000))
with store.local_copy("whole") as copy, store.new_file("half") as file:
    file.write(bytes(100_000))
    file.flush()
    print("written", flush=True)
    time.sleep(600)
"""


def test_a_killed_writer_leaves_nothing_on_this_machine(bucket: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, bucket]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        process.kill()
    assert list(tmp_path.iterdir()) == []
    assert [entry.path for entry in open_store(bucket).list("")] == ["whole"]


def test_folders_are_removed_that_hold_nothing(tmp_path: Path) -> None:
    store = DiskStore(tmp_path)
    for path in ("working/empty/a", "working/other/a", "working/used/a"):
        store.write(path, b"")
    store.delete("working/empty/a")
    store.delete("working/other/a")
    store.remove_empty_folders("working", {"empty", "used"})
    assert sorted(path.name for path in (tmp_path / "working").iterdir()) == ["other", "used"]


@pytest.mark.parametrize("uri", ["ftp://host/x", "https://host/x"])
def test_a_place_that_takes_no_results_is_told(uri: str) -> None:
    with pytest.raises(JobError, match="results go to a folder"):
        open_store(uri)


def test_a_bucket_that_is_not_there_is_an_error_of_the_store(bucket: str) -> None:
    store = open_store(bucket.replace("photos-and-labels", "no-such-bucket"))
    with pytest.raises(OSError, match="no-such-bucket"):
        store.write("x", b"")
