"""What a destination's URL may be: what could never work is refused before anything is sent."""

from pathlib import Path

import pytest

from shipper.config import address

HERE = Path()


@pytest.mark.parametrize(
    "url",
    [
        "https://metrics.example.net/v1/batches",
        "http://[::1]:8443/",
        "https://bücher.example/write?db=a b",
        "https://h/#fragment",
    ],
)
def test_a_url_is_taken_as_it_is_written(url: str) -> None:
    assert address("https", "http")(url, HERE) == url


@pytest.mark.parametrize(
    "url",
    [
        *("ftp://h/", "h:443", "https:///v1", "https://:443/", "", 1, None),
        *("https://h:0/", "https://h:65536/", "https://h:x/", "https://[::1/"),
        *("https://me:secret@h/", "https://me@h/", "https://@h/"),
        *("https://metrics example.net/", "https://h\n/v1", "https://h/v1\r\nX: y", "https://h/\0"),
    ],
)
def test_what_can_never_work_is_refused(url: object) -> None:
    with pytest.raises(ValueError, match="a URL like https://host:port/path"):
        address("https", "http")(url, HERE)
