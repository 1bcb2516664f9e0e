"""docker/compose.yaml as its user runs it: built, started, asked and stopped in the middle of work: make prove-compose.

Needs a Docker engine with Compose 2.24 or newer, and the ports 8000, 9090 and 3000. Removes what it started.
"""

import argparse
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx

from loadtests.containers.labelled import labels
from loadtests.loopback import HOST

FILE = Path(__file__).parents[2] / "docker" / "compose.yaml"
SEGSERVE, PROMETHEUS, GRAFANA = 8000, 9090, 3000
SCRAPE_SECONDS = 60.0
"""Four of its intervals."""
CLIENTS, WORK_SECONDS = 2, 3.0


def compose(*arguments: str) -> str:
    """Run it and return what it prints; its progress goes to stderr. Raises CalledProcessError."""
    command = ["docker", "compose", "--project-name", "segserve-proof", "--file", str(FILE), *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def prometheus_sees_it() -> None:
    """Its targets, its rules, and a figure of what was labelled. Raises TimeoutError."""
    patience = time.monotonic() + SCRAPE_SECONDS
    while not (_value('up{instance="segserve:8000"}') and _value("sum(segserve_requests_total)")):
        if time.monotonic() > patience:
            raise TimeoutError("Prometheus has no figures of segserve")
        time.sleep(1)
    groups = httpx.get(f"http://{HOST}:{PROMETHEUS}/api/v1/rules").json()["data"]["groups"]
    assert groups, "no rules"
    assert not [rule for group in groups for rule in group["rules"] if rule["health"] == "err"]


def _value(query: str) -> float:
    answer = httpx.get(f"http://{HOST}:{PROMETHEUS}/api/v1/query", params={"query": query})
    return sum(float(series["value"][1]) for series in answer.json()["data"]["result"])


def grafana_shows_it() -> None:
    """The dashboard, to anybody on this machine."""
    found = httpx.get(f"http://{HOST}:{GRAFANA}/api/search", params={"type": "dash-db"}).json()
    assert any("segserve" in dashboard["title"].lower() for dashboard in found), found


def stops_at_work() -> int:
    """How many photos were answered before it stopped. Raises AssertionError where that took too long."""
    with ThreadPoolExecutor(CLIENTS) as clients:
        counts = [clients.submit(_answers) for _ in range(CLIENTS)]
        time.sleep(WORK_SECONDS)
        compose("stop", "segserve")
        answered = sum(count.result() for count in counts)
    state = compose("ps", "--all", "--format", "{{.ExitCode}}", "segserve").strip()
    assert state == "0", f"it ended with {state}"
    return answered


def _answers() -> int:
    """Posts photos, one after the other, until one is refused."""
    answered = 0
    # Docker's own proxy of a port takes connections when nobody listens behind it any more, and breaks them off.
    with suppress(httpx.TransportError):
        while _taken():
            answered += 1
    return answered


def _taken() -> bool:
    try:
        labels(SEGSERVE)
    except httpx.HTTPStatusError as refusal:
        if refusal.response.status_code == 503:
            return False
        raise
    return True


def prove(services: Sequence[str], build_arguments: Sequence[str]) -> None:
    given = [f"--build-arg={argument}" for argument in build_arguments]
    compose("build", *given, "segserve")
    try:
        began = time.monotonic()
        compose("up", "--detach", "--wait", *services)
        say(f"all healthy after {time.monotonic() - began:.1f} s")
        labels(SEGSERVE)
        say("a photo is labelled")
        prometheus_sees_it()
        say("Prometheus has its figures and rules")
        if "grafana" in services:
            grafana_shows_it()
            say("Grafana has the dashboard")
        say(f"stopped at work: {stops_at_work()} photos answered, exit code 0")
    finally:
        compose("down", "--volumes", "--timeout", "80")


def say(what: str) -> None:
    print(what, flush=True)  # noqa: T201 (the report)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE", help="of the Dockerfile")
    parser.add_argument("--without-grafana", action="store_true", help="where its image cannot be fetched")
    options = parser.parse_args()
    services = ["segserve", "prometheus"] + ([] if options.without_grafana else ["grafana"])
    prove(services, options.build_arg)


if __name__ == "__main__":
    main()
