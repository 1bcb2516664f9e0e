"""API keys: who may POST /segment, where the service is not open to all."""

import hashlib
from pathlib import Path

from starlette.datastructures import Headers

from service.errors import KeyMissing, KeyUnknown


class ApiKeys:
    """The SHA-256 of each valid key, as lines of hexadecimal in a file; what follows one on its line is a comment.

    A changed file counts from the next request on, so keys can be rotated while the service runs.
    """

    def __init__(self, path: Path) -> None:
        """Raises OSError where the file cannot be read, ValueError where a line is not a SHA-256."""
        self._path = path
        self._read_at = -1
        self._hashes: frozenset[bytes] = frozenset()
        self._refresh()

    def check(self, headers: Headers) -> None:
        """Look for `Authorization: Bearer KEY` or `X-API-Key: KEY`. Raises KeyMissing, KeyUnknown."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        key = token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        if not key:
            raise KeyMissing("Send your API key as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'.")
        self._refresh()
        # Of the hash, so that the time it takes tells nothing of the key.
        if hashlib.sha256(key.encode("latin-1")).digest() not in self._hashes:
            raise KeyUnknown("This API key is not valid, or no longer: ask whoever runs the service for another.")

    def _refresh(self) -> None:
        changed_at = self._path.stat().st_mtime_ns
        if changed_at == self._read_at:
            return
        lines = self._path.read_text(encoding="utf-8").splitlines()
        self._hashes = frozenset(_digest(line.split()[0], self._path) for line in lines if line.strip())
        self._read_at = changed_at


def _digest(text: str, path: Path) -> bytes:
    try:
        digest = bytes.fromhex(text)
    except ValueError:
        digest = b""
    if len(digest) != hashlib.sha256().digest_size:
        raise ValueError(f"{path}: '{text}' is not a SHA-256 in hexadecimal; make one with: printf %s KEY | sha256sum")
    return digest
