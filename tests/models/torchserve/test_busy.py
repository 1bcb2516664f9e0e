import subprocess
import sys
from pathlib import Path

from models.torchserve.busy import Busy

AT_A_CALL_FOR_EVER = """
import sys, time
from pathlib import Path
from models.torchserve.busy import Busy
with Busy(Path(sys.argv[1])).at_a_call():
    print("begun", flush=True)
    time.sleep(600)
"""


def test_busy_are_all_until_the_last_call_ends(tmp_path: Path) -> None:
    supervisor, first, second = (Busy(tmp_path / "busy") for _ in range(3))
    assert not supervisor.anyone()
    with first.at_a_call():
        with second.at_a_call():
            assert supervisor.anyone()
        assert supervisor.anyone()
    assert not supervisor.anyone()
    for each in (supervisor, first, second):
        each.close()


def test_a_process_that_dies_at_a_call_is_busy_no_longer(tmp_path: Path) -> None:
    supervisor = Busy(tmp_path / "busy")
    command = [sys.executable, "-c", AT_A_CALL_FOR_EVER, str(tmp_path / "busy")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        assert supervisor.anyone()
        process.kill()
    assert not supervisor.anyone()
    supervisor.close()
