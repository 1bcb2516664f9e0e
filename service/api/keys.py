"""API keys: who may POST /segment, and how much, where the service is not open to all."""

import hashlib
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from starlette.datastructures import Headers

from service.api.allowance import Allowance
from service.errors import KeyLimited, KeyMissing, KeyUnknown

logger = logging.getLogger("segserve")


class ApiKeys:
    """The SHA-256 of each valid key, as lines of a file: HASH [name=NAME] [rate=N] [concurrency=N] and any comment.

    name: for logs and metrics; by default the first eight digits of the hash. Keys of one name share its limits.
    rate: photos a second; concurrency: photos at once; without them there is no limit. A changed file counts from the
    next request on, so keys can be rotated while the service runs; one that cannot be read leaves things as they are.
    """

    def __init__(self, path: Path, on_limited: Callable[[str], None] = lambda _: None) -> None:
        """on_limited: told the name of a key that asked for more than it may.

        Raises OSError where the file cannot be read, ValueError where a line is wrong.
        """
        self._path, self._on_limited = path, on_limited
        self._names: Mapping[bytes, str] = {}
        self._allowances: Mapping[str, Allowance] = {}
        self._seen = self._changed()
        self._read()

    def identify(self, headers: Headers) -> str:
        """The name of the key in `Authorization: Bearer KEY` or `X-API-Key: KEY`. Raises KeyMissing, KeyUnknown."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        key = token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        if not key:
            raise KeyMissing("Send your API key as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'.")
        self._refresh()
        # Of the hash, so that the time it takes tells nothing of the key.
        name = self._names.get(hashlib.sha256(key.encode("latin-1")).digest())
        if name is None:
            raise KeyUnknown("This API key is not valid, or no longer: ask whoever runs the service for another.")
        return name

    @contextmanager
    def admitted(self, name: str) -> Iterator[None]:
        """One request of the key just identified, while the context lasts. Raises KeyLimited."""
        try:
            with self._allowances[name].taken():
                yield
        except KeyLimited:
            self._on_limited(name)
            raise

    def _changed(self) -> tuple[int, int, int]:
        # Not the time alone: it may be the same before and after somebody writes.
        status = self._path.stat()
        return status.st_mtime_ns, status.st_size, status.st_ino

    def _refresh(self) -> None:
        try:
            changed = self._changed()
            if changed == self._seen:
                return
            self._seen = changed
            self._read()
        except (OSError, ValueError):
            logger.exception("the API keys stay as they were: %s cannot be read", self._path)

    def _read(self) -> None:
        names: dict[bytes, str] = {}
        allowances: dict[str, Allowance] = {}
        for line in self._path.read_text(encoding="utf-8").splitlines():
            if not line.strip():
                continue
            digest, name, limits = _parsed(line, self._path)
            names[digest] = name
            if name in allowances and allowances[name].limits != limits:
                raise ValueError(f"{self._path}: two keys of the name '{name}' have different limits")
            known = self._allowances.get(name)
            # One that goes on with the same limits remembers what was asked for.
            allowances[name] = known if known and known.limits == limits else Allowance(*limits)
        self._names, self._allowances = names, allowances


def _parsed(line: str, path: Path) -> tuple[bytes, str, tuple[float, float]]:
    digits, *words = line.split()
    digest = _digest(digits, path)
    options = dict(word.split("=", 1) for word in words if "=" in word)
    if unknown := options.keys() - {"name", "rate", "concurrency"}:
        raise ValueError(f"{path}: '{unknown.pop()}=' is not known; there are name=, rate= and concurrency=")
    limits = _limit("rate", options, path), _limit("concurrency", options, path)
    return digest, options.get("name", digest.hex()[:8]), limits


def _limit(name: str, options: Mapping[str, str], path: Path) -> float:
    try:
        limit = float(options.get(name, math.inf))
    except ValueError:
        limit = 0
    if not limit > 0:
        raise ValueError(f"{path}: {name}={options[name]} is not a number above 0")
    return limit


def _digest(text: str, path: Path) -> bytes:
    try:
        digest = bytes.fromhex(text)
    except ValueError:
        digest = b""
    if len(digest) != hashlib.sha256().digest_size:
        raise ValueError(f"{path}: '{text}' is not a SHA-256 in hexadecimal; make one with: printf %s KEY | sha256sum")
    return digest
