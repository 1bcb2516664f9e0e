"""segserve in a process of its own, where some packages cannot be imported."""

import os
import subprocess
import sys


def segserve(*arguments: str, blocked: tuple[str, ...], **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `segserve ARGUMENTS` as if the packages `blocked` were not installed."""
    code = f"""
import sys
sys.modules.update(dict.fromkeys({blocked}))
from cli.main import main
main(prog_name="segserve")
"""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
