"""`holdfast hold` and `holdfast release`: keep unsent batches back, and let them go again."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from spool.batch import State
from spool.commands.changing import apply_option, change_each, json_option, tell_each
from spool.commands.completing import batches, batches_in, completing
from spool.commands.options import BATCH, user
from spool.commands.options import destination as destination_option
from spool.commands.place import Place, known
from spool.delivery import Delivery
from spool.errors import HoldfastError

MOST = 1_000_000


class NotUnsent(HoldfastError):
    """A batch that is to be held and has a state already at every destination."""

    exit_code = 2


def _states(at: Mapping[str, Mapping[str, Any] | None]) -> str:
    return ", ".join(f"{row['state']} at {name}" for name, row in at.items() if row)


@click.command()
@click.argument(
    "batch_ids",
    metavar="ID...",
    nargs=-1,
    required=True,
    type=BATCH,
    shell_complete=completing(batches),
)
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
        states = {each: {name: reader.state_row(each) for name, reader in known(deliveries)} for each in set(batch_ids)}
    settled = {each: at for each, at in states.items() if at and None not in at.values()}
    if settled:
        raise NotUnsent(
            f"not unsent: {', '.join(f'{each} ({_states(at)})' for each, at in sorted(settled.items()))}."
            " Only what is unsent can be held; `holdfast explain ID` says more."
        )
    unsent = {name: sorted(each for each, at in states.items() if at[name] is None) for name, _ in known(deliveries)}
    if do_it:
        change_each(place, unsent, lambda delivery, ids: delivery.hold(ids, place.clock(), user()), as_object)
    tell_each("held" if do_it else "to hold", unsent, do_it, as_object)


@click.command()
@click.argument(
    "batch_ids",
    metavar="[ID]...",
    nargs=-1,
    type=BATCH,
    shell_complete=completing(batches_in(State.HELD)),
)
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
        for each in set(batch_ids).difference(*held.values()):
            spool.header(each)  # raises UnknownBatch
    chosen = {name: those if everything else sorted(set(batch_ids).intersection(those)) for name, those in held.items()}
    if do_it:

        def let_go(delivery: Delivery, ids: Sequence[int]) -> int:
            return delivery.make_unsent(ids, place.clock(), user(), "release", [State.HELD])

        change_each(place, chosen, let_go, as_object)
    tell_each("released" if do_it else "to release", chosen, do_it, as_object)
