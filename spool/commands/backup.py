"""`holdfast backup`: a consistent copy of a live spool."""

from pathlib import Path

import click

from spool.backup import backup as copy
from spool.commands.changing import Progress, json_option
from spool.commands.place import Place
from spool.connection import FILE
from spool.human import size
from spool.output import as_json

PAUSE_S = 0.002


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@json_option("folder, spool_id, bytes")
@click.pass_obj
def backup(place: Place, *, folder: Path, as_object: bool) -> None:
    """Copy the spool and its delivery files into a new FOLDER, while everything goes on.

    No commit waits for it. The copy has an identity of its own, so that it can be put to work beside the original or
    instead of it: name it as [spool] dir. To look into it, `HOLDFAST_SPOOL_DIR=FOLDER holdfast list`.
    """
    with Progress(place, 0, "pages", as_object) as progress:

        def tell(done: int, of: int) -> None:
            progress.of(of)
            progress(done)

        spool_id = copy(place.directory, folder, tell, lambda: place.wait(PAUSE_S))
    size_bytes = sum(each.stat().st_size for each in folder.iterdir())
    if as_object:
        click.echo(as_json({"folder": str(folder.absolute()), "spool_id": spool_id, "bytes": size_bytes}))
    else:
        click.echo(f"{folder / FILE} and its delivery files: {size(size_bytes)}, spool id {spool_id}")
