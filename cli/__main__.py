"""`python -m cli` is `segserve`, for whoever must not depend on what is on the path."""

from cli.main import main

main(prog_name="segserve")
