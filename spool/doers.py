"""What the collector does when an operator asks: which errand is done by what. See errand.py."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from spool import prune, salvage, transfer
from spool.errand import Doer, Errand
from spool.writer import SpoolWriter


def doers(destinations: Sequence[str]) -> Mapping[str, Doer]:
    """The doers by the word for what they do. `destinations` are the configured ones' names."""
    return {
        "prune": partial(_prune, destinations),
        "import": transfer.pieces,
        "salvage": partial(_salvage, destinations),
        "suspect": salvage.suspected,
    }


def _prune(
    destinations: Sequence[str], writer: SpoolWriter, errand: Errand, _data: Path
) -> Iterator[Mapping[str, int]]:
    return prune.pieces(writer, errand, destinations)


def _salvage(
    destinations: Sequence[str], writer: SpoolWriter, errand: Errand, _data: Path
) -> Iterator[Mapping[str, int]]:
    return salvage.pieces(writer, Path(errand.given["file"]), destinations, errand.at, errand.who)
