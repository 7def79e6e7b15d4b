"""`holdfast audit`: the proof, on a live spool, that nothing is missing that nobody knows of."""

from dataclasses import asdict

import click

from spool.accounts import Audit
from spool.audit import audited
from spool.commands.place import Place
from spool.human import count, counted
from spool.output import as_json, printable

_SHOWN = 20


@click.command()
@click.option("--json", "as_object", is_flag=True, help="One JSON object with stable keys.")
@click.pass_context
def audit(context: click.Context, as_object: bool) -> None:
    """Check that what was received, committed, sent and lost adds up, and name what does not.

    Per window: lines are accepted or rejected, points are in batches that are held, settled everywhere, or lost and
    recorded. Per destination: states are of batches that there were, none is passed over. Exit code 0 if it adds up, 1
    if something in it is worth a look (losses, dead batches, kernel drops), 2 if it does not add up.

    Keys of --json: problems, attention, windows, lines, accepted, rejected, dropped, points, destinations (points by
    state; those of batches that are gone by what became of them), exit_code.
    """
    place = context.ensure_object(Place)
    result = audited(place.directory, place.config.destinations(), place.wait)
    if as_object:
        click.echo(as_json({**asdict(result), "exit_code": result.exit_code}, indent=2))
    else:
        for label, text in _screen(result):
            click.echo(f"{label:<12} {printable(text)}")
    context.exit(result.exit_code)


def _screen(result: Audit) -> list[tuple[str, str]]:
    lines = [
        ("windows", f"{count(result.windows)}   kernel drops {count(result.dropped)}"),
        (
            "lines",
            f"{count(result.lines)} = {count(result.accepted)} accepted + {count(result.rejected)} rejected",
        ),
        ("points", f"{count(result.points)} committed"),
    ]
    for name, points in result.destinations.items():
        lines.append((name, " + ".join(f"{count(number)} {word}" for word, number in points.items() if number) or "0"))
    lines += [("attention", each) for each in result.attention]
    lines += [("PROBLEM", each) for each in result.problems[:_SHOWN]]
    if len(result.problems) > _SHOWN:
        lines.append(("PROBLEM", f"and {len(result.problems) - _SHOWN} more; --json has all"))
    verdict = "does not add up" if result.problems else "adds up"
    lines.append(
        ("verdict", verdict + (f": {counted(len(result.problems), 'problem', 'problems')}" if result.problems else ""))
    )
    return lines
