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


@pytest.mark.parametrize("query", ["db=m&u=me&p=secret", "Token=secret", "x=1&api-key=secret", "password="])
def test_a_secret_in_the_query_is_sent_to_token_file(query: str) -> None:
    with pytest.raises(ValueError, match=r"a URL like .*: what is secret in its query belongs into token_file$"):
        address("https", "http")(f"https://h/write?{query}", HERE)


@pytest.mark.parametrize("query", ["db=m&rp=short", "bucket=a&org=token", "map=1#p=1"])
def test_other_queries_are_taken(query: str) -> None:
    assert address("https", "http")(f"https://h/write?{query}", HERE)
