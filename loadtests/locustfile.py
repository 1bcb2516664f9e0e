"""segserve's load for users of locust: `locust -f loadtests/locustfile.py --host http://127.0.0.1:8000`.

Needs locust in an environment of its own beside numpy and pillow; docs/loadtests.md has the command.
"""

from locust import FastHttpUser, constant_throughput, task

from loadtests.photos import Photo, street_photo
from loadtests.requests import Priority

REFUSED = (429, 503)


class Caller(FastHttpUser):
    """Posts photos and asks for the label map. A refusal is an answer under overload: it is listed, but no failure."""

    abstract = True
    priority: Priority = "normal"
    timeout_ms = 2_000

    def label(self, photo: Photo) -> None:
        """One request, listed under its priority and the photo's size."""
        with self.client.post(
            f"/segment?output=labels&timeout_ms={self.timeout_ms}",
            data=photo.body,
            headers={"X-Priority": self.priority},
            name=f"{self.priority} {photo.height}x{photo.width}",
            catch_response=True,
        ) as response:
            if response.status_code in REFUSED:
                response.request_meta["name"] += " (refused)"
                response.success()


class Interactive(Caller):
    """Somebody waits for it."""

    weight = 2
    priority = "interactive"
    timeout_ms = 500
    wait_time = constant_throughput(1)

    @task
    def look(self) -> None:
        self.label(street_photo(360, 480))


class Normal(Caller):
    """An application's requests, of mixed sizes."""

    weight = 5
    wait_time = constant_throughput(2)

    @task(4)
    def small(self) -> None:
        self.label(street_photo(360, 480))

    @task(1)
    def large(self) -> None:
        self.label(street_photo(720, 960))


class Batch(Caller):
    """A job that sends as fast as it is answered."""

    weight = 3
    priority = "batch"
    timeout_ms = 10_000

    @task
    def crunch(self) -> None:
        self.label(street_photo(720, 960))
