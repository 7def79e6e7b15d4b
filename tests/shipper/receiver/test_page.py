"""The page: escaped, readable ages, never empty."""

import pytest

from shipper.receiver.page import age, render

HOST = {
    "host": "<b>web</b>",
    "batches": 3,
    "last_window_end": 1_000.0,
    "missing": 7,
    "spools": [{"gaps": [[n, n] for n in range(10, 24, 2)]}],
    "checkin": None,
}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 s"),
        (0, "0 s"),
        (119.9, "119 s"),
        (120, "2 m"),
        (7_200, "2 h 00 m"),
        (11_220, "3 h 07 m"),
        (187_200, "2 d 04 h"),
    ],
)
def test_ages_are_short(seconds, text) -> None:
    assert age(seconds) == text


def test_what_came_over_the_network_is_escaped() -> None:
    page = render([HOST], [("<i>", '"&', 1)], 1_060.0)
    assert "&lt;b&gt;web&lt;/b&gt;" in page
    assert "&lt;i&gt;" in page
    assert "<b>" not in page
    assert "<i>" not in page


def test_freshness_gaps_and_a_missing_checkin_are_said() -> None:
    page = render([HOST], [], 1_060.0)
    assert "60 s ago" in page
    assert "7: 14, 16, 18, 20, 22 and others" in page
    assert "<td>never</td>" in page


def test_an_empty_receiver_says_so() -> None:
    assert render([], [], 0.0).count("Nothing has arrived yet.") == 2
