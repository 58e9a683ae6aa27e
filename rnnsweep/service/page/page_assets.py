"""Scripts and styles of the pages, by names that change with their content, so that browsers keep them for good."""

from __future__ import annotations

import functools
import gzip
import hashlib
from dataclasses import dataclass, field
from importlib import metadata, resources

TYPES = {"js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8"}
PLOTLY = "plotly.min.js"


@dataclass(frozen=True)
class PageAsset:
    """A file as it is sent.

    Attributes:
        body: its bytes. packed: the same, gzipped. kind: its media type.
    """

    body: bytes = field(repr=False)
    packed: bytes = field(repr=False)
    kind: str


@functools.cache
def own_assets() -> dict[str, PageAsset]:
    """Our own files by name."""
    folder = resources.files("rnnsweep.service.page").joinpath("assets")
    names = sorted(file.name for file in folder.iterdir() if file.name.rpartition(".")[2] in TYPES)
    return {name: _asset(name, folder.joinpath(name).read_bytes()) for name in names}


@functools.cache
def plotly_asset() -> PageAsset:
    """Plotly's script from the installed package: nothing is loaded from elsewhere."""
    from plotly.offline import get_plotlyjs

    return _asset(PLOTLY, get_plotlyjs().encode())


def asset(name: str) -> PageAsset | None:
    """A file by name, None where there is none."""
    return plotly_asset() if name == PLOTLY else own_assets().get(name)


@functools.cache
def assets_version() -> str:
    """A word that changes with any file; it stands in their addresses, so that modules import each other by it too."""
    digest = hashlib.sha256(metadata.version("plotly").encode())
    for name, file in own_assets().items():
        digest.update(name.encode() + file.body)
    return digest.hexdigest()[:16]


def _asset(name: str, body: bytes) -> PageAsset:
    level = 6 if name == PLOTLY else 9
    return PageAsset(body, gzip.compress(body, level, mtime=0), TYPES[name.rpartition(".")[2]])
