"""The cookie: proves that the token was shown, ends by itself, and is worth nothing for another token."""

import pytest

from shipper.receiver.session import LASTS_S, begun, ended, holds

NOW = 1_764_000_000.0


def shown(set_cookie: str) -> dict[str, str]:
    """What a browser sends back."""
    return {"HTTP_COOKIE": f"other=1; {set_cookie.partition(';')[0]}"}


def test_who_has_shown_the_token_is_known_until_the_session_ends() -> None:
    cookie = shown(begun("secret", NOW, secure=True))
    assert holds(cookie, "secret", NOW)
    assert holds(cookie, "secret", NOW + LASTS_S - 1)
    assert not holds(cookie, "secret", NOW + LASTS_S)


def test_another_token_signs_everybody_out() -> None:
    assert not holds(shown(begun("secret", NOW, secure=True)), "other", NOW)


def test_the_token_cannot_be_read_from_the_cookie_and_scripts_cannot_read_it() -> None:
    cookie = begun("secret", NOW, secure=True)
    assert "secret" not in cookie
    assert {"HttpOnly", "Secure", "SameSite=Lax", "Path=/"} <= set(cookie.split("; "))
    assert "Secure" not in begun("secret", NOW, secure=False)


def test_a_browser_that_is_told_to_forget_shows_nothing() -> None:
    assert "Max-Age=0" in ended(secure=True)
    assert not holds(shown(ended(secure=True)), "secret", NOW)


@pytest.mark.parametrize(
    "forged",
    [
        "",
        "holdfast",
        "holdfast=",
        "holdfast=secret",
        "holdfast=99999999999.aaaa",
        f"holdfast={int(NOW) + 100}.",
        f"holdfast={int(NOW) + 100}.{'0' * 64}",
        f"holdfast={'9' * 400}.{'0' * 64}",
        "holdfast=-1.x",
        "holdfast=\u0661\u0662.x",
        'holdfast="\\',
        "\udcff=;;;=",
    ],
)
def test_what_is_made_up_is_no_session(forged) -> None:
    assert not holds({"HTTP_COOKIE": forged}, "secret", NOW)


def test_a_session_cannot_be_prolonged() -> None:
    until, proof = begun("secret", NOW, secure=True).partition(";")[0].removeprefix("holdfast=").split(".")
    assert not holds({"HTTP_COOKIE": f"holdfast={int(until) + 1}.{proof}"}, "secret", NOW)
