"""What is lost with a process that had to stop while the spool took nothing is a loss at the next start, once."""

import json
import os

import pytest

from spool import lastwords
from spool.batch import Window
from spool.reader import SpoolReader
from spool.salvage import open_spool
from spool.writer import SpoolWriter


def windows(*ends):
    return [Window(0, end - 10.0, end, range(5), lines=100) for end in ends]


def opened(directory):
    """The collector starts, commits a window, and stops; the losses after that."""
    writer = open_spool(directory, "web-1", 999.0, lambda _replaced: None)
    seq = writer.next_window_seq()
    writer.commit(Window(seq, 500.0, 510.0, []), 510.0)
    writer.close()
    with SpoolReader(directory) as spool:
        return seq, [
            (each["at"], each["reason"], each["first_window"], each["last_window"], each["points"], each["lines"])
            for each in spool.losses()
        ]


def test_the_next_start_records_them_and_their_numbers_are_not_used_again(tmp_path):
    assert opened(tmp_path) == (1, [])
    lastwords.leave(tmp_path, windows(520.0, 530.0), 531.0)
    loss = (531.0, lastwords.REASON, 2, 3, 10, 200)
    assert opened(tmp_path) == (4, [loss])
    assert opened(tmp_path) == (5, [loss])


def test_one_more_that_could_not_open_the_spool_either_adds_to_them(tmp_path):
    opened(tmp_path)
    lastwords.leave(tmp_path, windows(520.0), 521.0)
    lastwords.leave(tmp_path, windows(530.0, 540.0), 541.0)
    assert opened(tmp_path) == (5, [(541.0, lastwords.REASON, 2, 4, 15, 300)])


def test_a_crash_between_the_row_and_the_clearing_of_the_words_makes_no_second_row(tmp_path):
    opened(tmp_path)
    lastwords.leave(tmp_path, windows(520.0), 521.0)
    words = (tmp_path / "last-words").read_bytes()
    opened(tmp_path)
    (tmp_path / "last-words").write_bytes(words)
    assert len(opened(tmp_path)[1]) == 1


@pytest.mark.parametrize("content", [b"", b"\0" * 4096, b'{"at":1', b"[]", os.urandom(4096)])
def test_words_that_cannot_be_read_are_no_words(tmp_path, content):
    opened(tmp_path)
    (tmp_path / "last-words").write_bytes(content)
    assert opened(tmp_path)[1] == []


def test_they_need_no_room_that_was_not_there_before(tmp_path):
    SpoolWriter.open(tmp_path, "web-1").close()
    opened(tmp_path)
    before = (tmp_path / "last-words").stat()
    lastwords.leave(tmp_path, windows(520.0), 521.0)
    after = (tmp_path / "last-words").stat()
    assert (before.st_ino, before.st_size, before.st_blocks) == (after.st_ino, after.st_size, after.st_blocks)
    assert before.st_blocks > 0
    assert json.loads((tmp_path / "last-words").read_bytes())["windows"] == 1
