"""What pages are built of: nothing gets in unescaped, and cells know their headings."""

from hypothesis import given
from hypothesis import strategies as st

from spool.markup import element, html, policy, table


@given(st.text())
def test_whatever_is_put_in_is_escaped_once(words) -> None:
    made = element("a", words, html(words), href=words)
    assert made.count("<") == 2 and made.count(">") == 2
    assert element("p", words) == element("p", html(words))


def test_cells_know_their_headings() -> None:
    made = table("Worst first", ["Host", "Missing#"], [["web-1", "7"]])
    assert "<caption>Worst first</caption>" in made
    assert '<th scope="col">Host</th><th scope="col" class="number">Missing</th>' in made
    assert '<th scope="row">web-1</th><td class="number">7</td>' in made
    assert 'role="region" aria-label="Worst first" tabindex="0"' in made


def test_a_policy_names_the_style_by_its_hash() -> None:
    # printf 'p {}' | openssl dgst -sha256 -binary | base64
    digest = "'sha256-SNJDlN1Iy2mnt7DOjQIyDb2LQE6O5PQiSZomcdzawQ4='"
    assert policy("p {}", "img-src data:").split("; ") == [
        "default-src 'none'", f"style-src {digest}", "form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'",
        "img-src data:",
    ]  # fmt: skip
