"""`holdfast salvage FILE`: put the readable rows of a damaged spool file back, under their keys."""

from pathlib import Path

import click

from spool.commands.changing import NOT_DONE, Progress, apply_option, have_done, json_option
from spool.commands.options import user
from spool.commands.place import Place
from spool.errand import Done, Errand
from spool.errors import HoldfastError
from spool.human import count, counted
from spool.output import as_json
from spool.reader import SpoolReader
from spool.salvage import contents


class Unreadable(HoldfastError):
    """The file to salvage from cannot be opened."""

    exit_code = 2


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@apply_option
@json_option("applied, readable, held, rotten, windows; with --apply also saved, known, lost")
@click.pass_obj
def salvage(place: Place, *, file: Path, do_it: bool, as_object: bool) -> None:
    """Save what can be read of a damaged spool FILE, such as spool.db.corrupt-20261123T153012Z.

    The collector does this by itself when it sets a file aside; this is for a file from elsewhere, for one with which
    it did not get to the end, or to look. FILE is only read, with the -wal beside it. Batches whose payload still has
    its hash come back under their keys, and are sent unless a state says that they were; what is missing between them
    becomes a loss of reason 'damage'. From the file of another spool its batches are taken in as by `holdfast import`.
    A running collector does it between its windows; without one it is done here.
    """
    with SpoolReader(place.directory) as spool:
        try:
            found = contents(file)
        except OSError as error:
            raise Unreadable(f"{file}: {error.strerror}. Name a spool file that was set aside.") from None
        held = sum(spool.has_key(key) for key in found.batches)
    result: dict[str, object] = {
        "applied": do_it,
        "readable": len(found.batches),
        "held": held,
        "rotten": len(found.rotten),
        "windows": found.windows,
    }
    if do_it:
        errand = Errand("salvage", user(), place.clock(), {"file": str(file.absolute())})
        with Progress(place, len(found.batches), as_object=as_object) as progress:

            def tell(done: Done) -> None:
                progress(done.so_far.get("saved", 0) + done.so_far.get("known", 0))

            result |= have_done(place, errand, b"", tell).so_far
    if as_object:
        click.echo(as_json(result))
        return
    readable, rotten = (counted(len(each), "batch", "batches") for each in (found.batches, found.rotten))
    click.echo(f"readable  {readable}; {count(held)} of them were held before")
    click.echo(f"rotten    {rotten}: payload without its hash")
    click.echo(f"windows   {counted(found.windows, 'row', 'rows')} of counts")
    if do_it:
        saved = counted(int(str(result["saved"])), "batch", "batches")
        click.echo(f"done      {saved} put back, {result['lost']} recorded as lost")
    else:
        click.echo(NOT_DONE)
