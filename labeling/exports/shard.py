"""One shard in one format: the unit that runners place, like a shard to label."""

from dataclasses import dataclass

from labeling.exports import FORMATS
from labeling.exports.photos import FOLDER, ShardPhotos
from labeling.job import Job, part
from labeling.store import Store


@dataclass(frozen=True, slots=True)
class ExportUnit:
    """`retry` is the newest of the shard's status tables: labels that came with it are in the export too."""

    format: str
    shard: int
    retry: int

    def __str__(self) -> str:
        return f"the {self.format} export of shard {self.shard}"


def export_shard(job: Job, store: Store, unit: ExportUnit) -> None:
    """Write the shard's files. It may run any number of times, also at the same time."""
    FORMATS[unit.format](ShardPhotos(job, store, unit.shard, unit.retry, unit.format))
    store.flush()
    store.write(_marker(unit), b"")


def exports_left(store: Store, formats: tuple[str, ...], shards: dict[int, int]) -> list[ExportUnit]:
    """What is still to be exported of `shards`, each with the number of its newest retry."""
    made = {entry.path for entry in store.list(f"{FOLDER}/made")}
    units = (ExportUnit(format, shard, retry) for format in formats for shard, retry in sorted(shards.items()))
    return [unit for unit in units if _marker(unit) not in made]


def _marker(unit: ExportUnit) -> str:
    return f"{FOLDER}/made/{unit.format}/{part(unit.shard)}.r{unit.retry}"
