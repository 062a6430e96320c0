"""The files of the page, read once: what is asked for by name, never by path."""

from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable

__all__ = ["Asset", "load_assets"]

_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


@dataclass(frozen=True)
class Asset:
    """A file of the page.

    Args:
        content: Its bytes.
        media_type: What it is.
        etag: Changes with the content.
    """

    content: bytes
    media_type: str
    etag: str


def load_assets() -> dict[str, Asset]:
    """Return all files of the page by their paths below its root, such as "views/write.js"."""
    assets: dict[str, Asset] = {}

    def walk(folder: Traversable, prefix: str) -> None:
        for entry in folder.iterdir():
            if entry.is_dir():
                walk(entry, f"{prefix}{entry.name}/")
            elif media_type := _TYPES.get(entry.name.rpartition(".")[2]):
                content = entry.read_bytes()
                etag = f'"{sha256(content).hexdigest()[:24]}"'
                assets[prefix + entry.name] = Asset(content, media_type, etag)

    walk(files("unrolled.serving").joinpath("static"), "")
    return assets
