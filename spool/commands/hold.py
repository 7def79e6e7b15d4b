"""`holdfast hold` and `holdfast release`: keep unsent batches back, and let them go again."""

from collections.abc import Callable, Mapping, Sequence

import click

from spool.batch import State
from spool.commands.changing import NOT_DONE, Progress, apply_option, json_option, writable
from spool.commands.options import destination as destination_option
from spool.commands.options import user
from spool.commands.place import Place, known
from spool.delivery import Delivery
from spool.human import counted
from spool.output import as_json
from spool.replay import CHUNK, chunks

MOST = 1_000_000


@click.command()
@click.argument("batch_ids", metavar="ID...", nargs=-1, required=True, type=click.IntRange(min=1))
@destination_option("Only at this destination.")
@apply_option
@json_option("applied, batches by destination")
@click.pass_obj
def hold(place: Place, *, batch_ids: tuple[int, ...], destination: str | None, do_it: bool, as_object: bool) -> None:
    """Keep unsent batches back until `holdfast release`.

    A held batch is not sent and does not count as late; when the spool is full it goes like an unsent one. Only for
    destinations whose shipper has run: its file is not made here, where it might get the wrong owner.
    """
    with place.opened(destination) as (spool, deliveries):
        for each in batch_ids:
            spool.header(each)  # raises UnknownBatch
        unsent = {
            name: [each for each in sorted(set(batch_ids)) if reader.state_row(each) is None]
            for name, reader in known(deliveries)
        }
        spool_id = spool.spool_id
    if do_it:
        _change(place, spool_id, unsent, lambda delivery, ids: delivery.hold(ids, place.clock(), user()))
    _tell("held" if do_it else "to hold", {name: len(ids) for name, ids in unsent.items()}, do_it, as_object)


@click.command()
@click.argument("batch_ids", metavar="[ID]...", nargs=-1, type=click.IntRange(min=1))
@click.option("--all", "everything", is_flag=True, help="All that are held.")
@destination_option("Only at this destination.")
@apply_option
@json_option("applied, batches by destination")
@click.pass_obj
def release(
    place: Place,
    *,
    batch_ids: tuple[int, ...],
    everything: bool,
    destination: str | None,
    do_it: bool,
    as_object: bool,
) -> None:
    """Let held batches go: they are unsent again, and the shipper takes them up."""
    if bool(batch_ids) == everything:
        raise click.UsageError("Say which batches: by ID, or --all.")
    with place.opened(destination) as (spool, deliveries):
        held = {
            name: [row["batch"] for row in reader.state_rows(State.HELD, MOST)] for name, reader in known(deliveries)
        }
        spool_id = spool.spool_id
    chosen = {name: those if everything else sorted(set(batch_ids).intersection(those)) for name, those in held.items()}
    if do_it:

        def let_go(delivery: Delivery, ids: Sequence[int]) -> int:
            return delivery.make_unsent(ids, place.clock(), user(), "release", [State.HELD])

        _change(place, spool_id, chosen, let_go)
    _tell("released" if do_it else "to release", {name: len(ids) for name, ids in chosen.items()}, do_it, as_object)


def _change(
    place: Place,
    spool_id: str,
    chosen: Mapping[str, Sequence[int]],
    change: Callable[[Delivery, Sequence[int]], int],
) -> None:
    with Progress(place, sum(map(len, chosen.values()))) as progress:
        for name, ids in chosen.items():
            if ids:
                with writable(place, name, spool_id) as delivery:
                    for chunk in chunks(ids, CHUNK):
                        change(delivery, chunk)
                        progress(progress.done + len(chunk))


def _tell(what: str, batches: Mapping[str, int], did_it: bool, as_object: bool) -> None:
    if as_object:
        click.echo(as_json({"applied": did_it, "batches": batches}))
        return
    for name, number in batches.items():
        click.echo(f"{name}: {counted(number, 'batch', 'batches')} {what}")
    if not did_it:
        click.echo(NOT_DONE)
