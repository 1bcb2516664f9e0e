"""How much memory a statement takes, measured in a process of its own."""

import subprocess
import sys
from pathlib import Path

_PROGRAM = """
import sys
from pathlib import Path
from images import ImageError, decode, probe

def peak():
    # Not getrusage: its peak outlives exec, and would be that of the tests.
    return next(int(line.split()[1]) for line in Path("/proc/self/status").open() if line.startswith("VmHWM")) * 1024

data = Path(sys.argv[1]).read_bytes()
decode(Path(sys.argv[2]).read_bytes(), max_pixels=10_000)  # so that what is loaded on first use is loaded
before = peak()
try:
    {statement}
except ImageError:
    pass
print(peak() - before)
"""


def peak_growth(statement: str, data: bytes, small: bytes, folder: Path) -> int:
    """Return by how many bytes the resident memory peaks while `statement` runs on `data`, once `small` was decoded."""
    files = [folder / "data", folder / "small"]
    for file, content in zip(files, (data, small), strict=True):
        file.write_bytes(content)
    program: list[str | Path] = [sys.executable, "-c", _PROGRAM.format(statement=statement), *files]
    return int(subprocess.run(program, check=True, capture_output=True, text=True).stdout)
