"""`holdfast plot`: the picture is of what the files say."""

import time

import pytest

from spool.batch import State
from spool.delivery import Settled


def drawn(screen: str) -> str:
    return "".join(line.partition("|")[2] for line in screen.splitlines()[1:])


@pytest.fixture
def busy(made):
    """Minutes with a backlog that grew to 30 and went, 20 windows, acknowledged in one go but two."""
    made.commit(20)
    delivery = made.delivery()
    minute = int(time.time() // 60) * 60
    for back, unsent in enumerate((0, 10, 20, 30, 5, 0)):
        at = minute - 60 * back
        delivery.note_minute(at, (unsent, unsent * 100, at + 60 - 10.0 * unsent if unsent else None), 1, 0)
    delivery.settle({each: Settled(State.ACKNOWLEDGED) for each in range(1, 19)}, time.time())
    return made


def test_backlog_is_the_unsent_batches_of_each_minute(busy) -> None:
    screen = busy.run("plot", "backlog", "--since", "10m").stdout
    assert screen.startswith("main: unsent batches, max 30, now 0\n")
    assert drawn(screen).strip()


def test_latency_is_the_age_of_the_oldest(busy) -> None:
    assert "age of the oldest unsent batch, max 5m, now 0s" in busy.run("plot", "latency", "--since", "10m").stdout


def test_rate_is_lines_per_second_by_window(busy) -> None:
    assert "lines/s received, max 10, now 10" in busy.run("plot", "rate", "--since", "10m").stdout


def test_delivery_has_a_dot_for_each_acknowledged_batch(busy) -> None:
    screen = busy.run("plot", "delivery", "--since", "10m").stdout
    assert "18 batches" in screen and drawn(screen).strip()


@pytest.mark.parametrize("what", ["backlog", "latency", "rate", "delivery"])
def test_an_svg_is_written_to_the_file(busy, tmp_path, what) -> None:
    result = busy.run("plot", what, "--since", "10m", "--svg", str(tmp_path / "picture.svg"))
    assert result.stdout == ""
    assert (tmp_path / "picture.svg").read_text().startswith("<svg ")


def test_of_a_time_without_anything_it_says_so(made) -> None:
    made.commit(1)
    for what in ("backlog", "latency", "delivery"):
        assert "nothing is known" in made.run("plot", what).stderr
    assert "no destination is named 'x'" in made.run("plot", "backlog", "-d", "x", exit_code=2).stderr
