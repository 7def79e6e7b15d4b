"""Names, TCP, proxies, TLS: what can go wrong before the first byte of the request."""

import itertools
import socket
import ssl
import threading

from tests.faults.line import Line, ok
from tests.faults.scenario import scenario

HTTP_ONLY = ("http",)
HTTPS_ONLY = ("https",)
GOOD, DEAD = "good", "dead"
"""Addresses in `names` scripts: this scenario's own port, and one that never answers."""


def fine(line: Line) -> None:
    while True:
        line.send(ok(line.request()))


# --- names -----------------------------------------------------------------------------------------------
# names: [units to wait, addresses or None for an error] for each look-up; the last entry repeats


@scenario(None, names=([1000, [GOOD]],), phase="dns")
def d_hang(line: Line) -> None:
    fine(line)


@scenario(200, names=([5, [GOOD]],))
def d_slow(line: Line) -> None:
    fine(line)


@scenario(None, names=([15, [GOOD]],), phase="dns", error="could not be resolved")
def d_late(line: Line) -> None:
    fine(line)


@scenario(None, names=([0, None],), phase="dns", error="could not be resolved")
def d_refused(line: Line) -> None:
    fine(line)


@scenario(None, names=([0, []],), phase="dns")
def d_no_address(line: Line) -> None:
    fine(line)


@scenario(None, names=([0, [DEAD] * 8],), phase="connect", late=True)
def d_many_dead(line: Line) -> None:
    fine(line)


@scenario(200, names=([0, [DEAD, GOOD]],))
def d_first_dead(line: Line) -> None:
    fine(line)


@scenario(200, 200, names=([0, [GOOD]], [1000, []]))
def d_last_good_while_it_hangs(line: Line) -> None:
    line.send(ok(line.request(), b"Connection: close\r\n"))


@scenario(200, 200, names=([0, [GOOD]], [0, None]))
def d_last_good_while_it_fails(line: Line) -> None:
    line.send(ok(line.request(), b"Connection: close\r\n"))


# --- TCP -------------------------------------------------------------------------------------------------


@scenario(None, full=True, late=True, phase="connect")
def t_syn_dropped(line: Line) -> None:
    """The backlog is full, further SYNs are dropped."""


@scenario(None, raw=True)
def t_accepted_and_reset(line: Line) -> None:
    line.rst()


@scenario(None, raw=True)
def t_accepted_and_closed(line: Line) -> None:
    pass


@scenario(None, raw=True, late=True)
def t_accepted_and_silent(line: Line) -> None:
    line.stall()


# --- proxies: the scheme is the proxy's, the destination is an https server that is fine -----------------


def relay(line: Line, target: str) -> None:
    host, _, port = target.rpartition(":")
    with socket.create_connection((host.strip("[]"), int(port))) as beyond:

        def back() -> None:
            try:
                while part := beyond.recv(65536):
                    line.send(part)
                line.end()
            except OSError:
                pass

        threading.Thread(target=back, daemon=True).start()
        while True:
            beyond.sendall(line.more())


def connect_target(line: Line) -> str:
    return line.head()[""].split(" ")[1]


@scenario(200, 200, proxy=True)
def c_proxy(line: Line) -> None:
    target = connect_target(line)
    line.send(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n")
    relay(line, target)


@scenario(200, proxy=True)
def c_proxy_slow(line: Line) -> None:
    target = connect_target(line)
    line.drip(b"HTTP/1.1 200 OK\r\n\r\n", 0.3)
    relay(line, target)


@scenario(None, proxy=True, late=True)
def p_connect_stall(line: Line) -> None:
    line.head()
    line.stall()


@scenario(None, proxy=True, late=True)
def p_connect_drip(line: Line) -> None:
    line.head()
    line.drip(b"HTTP/1.1 200 Connection established by a very slow proxy\r\n\r\n")
    line.stall()


@scenario(None, proxy=True)
def p_headers_flood(line: Line) -> None:
    line.head()
    line.send(b"HTTP/1.1 200 OK\r\n")
    line.flood(b"X-Flood: " + b"a" * 1000 + b"\r\n")


@scenario(None, proxy=True, late=True)
def p_headers_slow(line: Line) -> None:
    line.head()
    line.send(b"HTTP/1.1 200 OK\r\n")
    line.drip_on(b"X-Slow: a\r\n")


@scenario(None, proxy=True, error="407")
def p_407(line: Line) -> None:
    line.head()
    line.send(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 4\r\n\r\nno\r\n")
    line.stall()


@scenario(None, proxy=True, late=None)
def p_407_drip(line: Line) -> None:
    line.head()
    line.send(b"HTTP/1.1 407 Proxy Authentication Required\r\n")
    line.drip_on()


@scenario(None, proxy=True, late=True, phase="tls")
def p_tunnel_dead(line: Line) -> None:
    line.head()
    line.send(b"HTTP/1.1 200 OK\r\n\r\n")
    line.stall()


@scenario(None, proxy=True)
def p_tunnel_garbage(line: Line) -> None:
    line.head()
    line.send(b"HTTP/1.1 200 OK\r\n\r\n")
    line.flood(b"not TLS at all\r\n" * 100)


@scenario(None, proxy=True, target="b_no_close_notify")
def p_cut_beyond(line: Line) -> None:
    """The proxy is in order; the server behind it ends a body without length and without close_notify."""
    target = connect_target(line)
    line.send(b"HTTP/1.1 200 OK\r\n\r\n")
    relay(line, target)


@scenario(None, proxy=True, target="s_drip", late=True, phase="read")
def p_drip_beyond(line: Line) -> None:
    target = connect_target(line)
    line.send(b"HTTP/1.1 200 OK\r\n\r\n")
    relay(line, target)


@scenario(200, proxy=True, target="c_longest_body")
def c_proxy_long_answer(line: Line) -> None:
    target = connect_target(line)
    line.send(b"HTTP/1.1 200 OK\r\n\r\n")
    relay(line, target)


@scenario(None, proxy=True)
def p_closes(line: Line) -> None:
    line.head()
    line.end()


@scenario(None, proxy=True)
def p_resets(line: Line) -> None:
    line.head()
    line.rst()


@scenario(None, proxy=True)
def p_1xx_flood(line: Line) -> None:
    line.head()
    line.flood(b"HTTP/1.1 102 Processing\r\n\r\n" * 10)


@scenario(None, proxy=True, schemes=HTTP_ONLY, error="certificate verify failed")
def p_man_in_the_middle(line: Line) -> None:
    """The proxy ends the tunnel itself, with a certificate that our authority did not issue."""
    line.head()
    line.send(b"HTTP/1.1 200 OK\r\n\r\n")
    line.handshake("stranger")
    fine(line)


# --- TLS -------------------------------------------------------------------------------------------------


def flight(line: Line) -> bytes:
    """What the server says first in a handshake, for whoever wants to say it in his own way."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = line.server.contexts["good"].wrap_bio(incoming, outgoing, server_side=True)
    while not outgoing.pending:
        incoming.write(line.more())
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
    return outgoing.read()


@scenario(None, schemes=HTTPS_ONLY, raw=True, late=True, phase="tls")
def l_stall(line: Line) -> None:
    line.more()
    line.stall()


@scenario(None, schemes=HTTPS_ONLY, raw=True, late=True, phase="tls")
def l_drip(line: Line) -> None:
    line.drip(flight(line))


@scenario(None, schemes=HTTPS_ONLY, raw=True, late=True, phase="tls")
def l_half_a_flight(line: Line) -> None:
    line.send(flight(line)[:300])
    line.stall()


@scenario(None, schemes=HTTPS_ONLY, raw=True)
def l_fin(line: Line) -> None:
    line.send(flight(line)[:300])
    line.fin()
    line.stall()


@scenario(None, schemes=HTTPS_ONLY, raw=True)
def l_rst(line: Line) -> None:
    line.send(flight(line)[:300])
    line.rst()


@scenario(None, schemes=HTTPS_ONLY, raw=True)
def l_answers_in_clear(line: Line) -> None:
    line.more()
    line.send(ok("m0"))
    line.stall()


@scenario(None, schemes=HTTPS_ONLY, raw=True)
def l_garbage_flood(line: Line) -> None:
    line.flood(bytes(range(256)) * 64)


@scenario(None, schemes=HTTPS_ONLY, raw=True)
def l_empty_records(line: Line) -> None:
    """Handshake records of length 0, for ever."""
    line.more()
    line.flood(b"\x16\x03\x03\x00\x00" * 1000)


@scenario(None, schemes=HTTPS_ONLY, raw=True, late=True, freezes=True, phase="tls")
def l_frozen(line: Line) -> None:
    line.more()
    line.freeze()


@scenario(None, schemes=HTTPS_ONLY, raw=True, error="certificate verify failed")
def l_stranger(line: Line) -> None:
    line.handshake("stranger")
    fine(line)


@scenario(None, schemes=HTTPS_ONLY, raw=True, error="certificate verify failed")
def l_other_name(line: Line) -> None:
    line.handshake("other-name")
    fine(line)


@scenario(None, schemes=HTTPS_ONLY, raw=True, error="certificate verify failed")
def l_expired(line: Line) -> None:
    line.handshake("expired")
    fine(line)


@scenario(None, schemes=HTTPS_ONLY, raw=True, error="TLS")
def l_old_version(line: Line) -> None:
    line.handshake("old-tls")
    fine(line)


@scenario(200, 200, schemes=HTTPS_ONLY, raw=True)
def c_many_tickets(line: Line) -> None:
    line.handshake("many-tickets")
    fine(line)


@scenario(None, schemes=HTTPS_ONLY, raw=True, late=True)
def l_tickets_then_silence(line: Line) -> None:
    line.handshake("many-tickets")
    for _ in itertools.repeat(None):
        line.more()
