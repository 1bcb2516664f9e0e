"""`python -m loadtests.rivals.install [NAME...]`: one environment a server, under .venv-rivals."""

import subprocess
import sys
import venv
from collections.abc import Iterable, Sequence

from loadtests.rivals.table import REPOSITORY, RIVALS, Rival

_STAMP = "installed.txt"


def install(rival: Rival) -> None:
    """Make its environment, unless it is there already. Raises subprocess.CalledProcessError."""
    wanted = rival.requirements.read_text()
    stamp = rival.environment / _STAMP
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    venv.create(rival.environment, clear=True, with_pip=True)
    subprocess.run([str(rival.python), *_pip_install(rival)], check=True, capture_output=True, text=True)
    stamp.write_text(wanted)


def _pip_install(rival: Rival) -> Sequence[str]:
    how = ["-c", str(REPOSITORY / "constraints.txt")] if rival.resolves else ["--no-deps"]
    return ["-m", "pip", "install", "--quiet", *how, "-r", str(rival.requirements)]


def main(names: Iterable[str]) -> int:
    """Install those, or all; one that can't be installed is told and doesn't stop the others."""
    chosen = set(names)
    for rival in RIVALS:
        if chosen and rival.module not in chosen:
            continue
        try:
            install(rival)
            print(f"{rival.name}: installed", file=sys.stderr)  # noqa: T201 (progress)
        except subprocess.CalledProcessError as error:
            print(f"{rival.name}: {error.stderr.strip()[-500:]}", file=sys.stderr)  # noqa: T201 (progress)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
