"""What a job is: fixed when it is planned, kept in job.json beside its results."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from labeling.errors import JobError
from labeling.store import Store

PATH = "job.json"


@dataclass(frozen=True, slots=True)
class Labels:
    """What decides the labels, besides the photos."""

    model: str
    """NAME@VERSION."""
    sha256: str
    """Of the model's weights."""
    label_set: str
    long_side: int | None
    """The long side that photos are scaled down to for the network; None is the model's own."""


@dataclass(frozen=True, slots=True)
class Job:
    """A planned job. Its photos lie in shards of `shard_rows` rows, the last one may be shorter."""

    key: str
    """Hash of the manifest, `labels` and shard_rows: results of different keys never mix."""
    source: str
    """The manifest that the user named."""
    manifest: str
    """The store's folder with the normalised manifest: part-NNNNN.parquet, one a shard."""
    rows: int
    shard_rows: int
    labels: Labels

    @property
    def shards(self) -> range:
        return range(-(-self.rows // self.shard_rows))

    def shard_size(self, shard: int) -> int:
        return min(self.shard_rows, self.rows - shard * self.shard_rows)

    def manifest_path(self, shard: int) -> str:
        return f"{self.manifest}/{part(shard)}.parquet"

    def to_json(self) -> bytes:
        return json.dumps(dataclasses.asdict(self), indent=2).encode()


def load_job(store: Store) -> Job | None:
    """The job whose results the store holds; None where there is none. Raises JobError for a file of something else."""
    try:
        fields = json.loads(store.read(PATH))
        return Job(**(fields | {"labels": Labels(**fields["labels"])}))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise JobError(f"{store.uri}/{PATH} is not a job of this version: choose another --out ({error})") from error


def part(shard: int) -> str:
    """The name that a shard's files begin with."""
    return f"part-{shard:05d}"


def carried_columns(manifest: pa.Schema, own: Sequence[str]) -> dict[str, str]:
    """The manifest's further columns and their names in the status table, whose `own` names stay its own."""
    further = [name for name in manifest.names if name not in ("image_id", "uri")]
    taken = {*own, *further}
    names = {}
    for name in further:
        new = name
        # Once is not always enough: a manifest that is a status table itself may have such names.
        while new in own or (new != name and new in taken):
            new = f"manifest_{new}"
        taken.add(new)
        names[name] = new
    return names
