"""Writing, gzip, redirects, refusals, keep-alive: the connection as a whole, over one exchange or several."""

import gzip
import zlib

from tests.faults.line import Line, ok
from tests.faults.scenario import BIG, scenario

GZIPPED = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n"
TOO_LARGE = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n"
MOVED = b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\n"

# --- writing ---------------------------------------------------------------------------------------------


@scenario(None, late=True, phase="write", body_bytes=BIG, small_buffer=True)
def w_not_read(line: Line) -> None:
    line.head()
    line.stall()


@scenario(None, late=True, phase="write", body_bytes=BIG, small_buffer=True)
def w_trickle(line: Line) -> None:
    line.trickle(1024)


@scenario(None, late=True, phase="write", body_bytes=BIG, small_buffer=True)
def w_trickle_bytes(line: Line) -> None:
    line.trickle(1)


@scenario(None, late=True, phase="write", body_bytes=BIG, small_buffer=True, freezes=True)
def w_frozen(line: Line) -> None:
    line.head()
    line.freeze()


@scenario(None, body_bytes=BIG, small_buffer=True)
def w_reset(line: Line) -> None:
    line.head()
    line.wait(2)
    line.rst()


@scenario(None, body_bytes=BIG, small_buffer=True)
def w_half_closed(line: Line) -> None:
    line.head()
    line.wait(2)
    line.fin()
    line.stall()


@scenario(None, body_bytes=BIG, small_buffer=True)
def w_closed(line: Line) -> None:
    line.head()
    line.wait(2)
    line.end()


@scenario(413, body_bytes=BIG, small_buffer=True)
def w_early_413_held(line: Line) -> None:
    line.head()
    line.send(TOO_LARGE)
    line.stall()


@scenario(413, body_bytes=BIG, small_buffer=True)
def w_early_413_closed(line: Line) -> None:
    line.head()
    line.send(TOO_LARGE)
    line.end()
    line.wait(10)


@scenario(413, body_bytes=BIG, small_buffer=True)
def w_early_413_trickle(line: Line) -> None:
    line.head()
    line.send(TOO_LARGE)
    line.trickle(1024)


@scenario(None, body_bytes=BIG, small_buffer=True, error="before it had the whole request")
def w_early_200(line: Line) -> None:
    line.send(ok(line.head()["x-mark"]))
    line.stall()


@scenario(None, body_bytes=BIG, small_buffer=True)
def w_early_garbage(line: Line) -> None:
    line.head()
    line.flood(b"garbage" * 1000)


@scenario(None, late=True, body_bytes=BIG, small_buffer=True)
def w_early_drip(line: Line) -> None:
    line.head()
    line.drip(TOO_LARGE)


# --- gzip ------------------------------------------------------------------------------------------------


@scenario(None)
def b_gzip_bomb(line: Line) -> None:
    line.request()
    bomb = gzip.compress(bytes(16 * 2**20), 1)
    line.send(GZIPPED + b"Content-Length: %d\r\n\r\n" % len(bomb) + bomb)
    line.stall()


@scenario(None)
def b_gzip_endless(line: Line) -> None:
    line.request()
    line.send(GZIPPED + b"Transfer-Encoding: chunked\r\n\r\n")
    deflate = zlib.compressobj(1, wbits=31)
    for _ in range(2):  # after a full flush the same block may be repeated for ever
        part = deflate.compress(bytes(2**20)) + deflate.flush(zlib.Z_FULL_FLUSH)
        block = b"%x\r\n%s\r\n" % (len(part), part)
        line.send(block)
    line.flood(block)


@scenario(None, late=True)
def b_gzip_mute(line: Line) -> None:
    """Blocks that decode to nothing: bytes arrive, output never does."""
    line.request()
    line.send(GZIPPED + b"\r\n")
    deflate = zlib.compressobj(wbits=31)
    line.send(deflate.compress(b""))
    line.drip_on(deflate.flush(zlib.Z_SYNC_FLUSH))


@scenario(None)
def b_gzip_cut(line: Line) -> None:
    line.request()
    body = gzip.compress(b"ack:m0" * 100)[:-10]
    line.send(GZIPPED + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    line.stall()


@scenario(None)
def b_gzip_lie(line: Line) -> None:
    line.request()
    line.send(GZIPPED + b"Content-Length: 6\r\n\r\nack:m0")
    line.stall()


@scenario(None)
def b_unknown_content_coding(line: Line) -> None:
    line.request()
    line.send(b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 6\r\n\r\nack:m0")
    line.stall()


# --- redirects: reported, never followed -----------------------------------------------------------------


@scenario(302, 302)
def r_loop(line: Line) -> None:
    while True:
        line.request()
        line.send(MOVED + b"Content-Length: 0\r\n\r\n")


@scenario(None, late=True)
def r_body_drip(line: Line) -> None:
    line.request()
    line.send(MOVED + b"Content-Length: 1000\r\n\r\n")
    line.drip_on()


@scenario(302)
def r_body_flood(line: Line) -> None:
    line.request()
    line.send(MOVED + b"\r\n")
    line.flood(b"a" * 65536)


# --- refusals: the status counts, whatever the body ------------------------------------------------------


@scenario(503)
def x_503_retry_after(line: Line) -> None:
    line.request()
    line.send(b"HTTP/1.1 503 Busy\r\nRetry-After: 3600\r\nContent-Length: 4\r\n\r\nbusy")
    line.stall()


@scenario(None, late=True)
def x_503_drip(line: Line) -> None:
    line.request()
    line.send(b"HTTP/1.1 503 Busy\r\nContent-Length: 1000\r\n\r\n")
    line.drip_on()


@scenario(404)
def x_404_long_page(line: Line) -> None:
    line.request()
    line.send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 1000000\r\n\r\n" + b"a" * 1000000)


@scenario(403)
def x_403_unreadable_page(line: Line) -> None:
    line.request()
    line.send(b"HTTP/1.1 403 No\r\nContent-Encoding: br\r\nContent-Length: 6\r\n\r\nack:m0")


# --- keep-alive: each attempt gets its own answer or none ------------------------------------------------


@scenario(200, 200, pause_units=10)
def k_closed_while_idle(line: Line) -> None:
    line.send(ok(line.request()))
    line.wait(1)
    line.end()


@scenario(200, 200, pause_units=10)
def k_reset_while_idle(line: Line) -> None:
    line.send(ok(line.request()))
    line.wait(1)
    line.rst()


@scenario(200, None, late=True)
def k_silent_at_second(line: Line) -> None:
    line.send(ok(line.request()))
    line.request()
    line.stall()


@scenario(200, None, late=True, freezes=True, pause_units=10)
def k_frozen_while_idle(line: Line) -> None:
    line.send(ok(line.request()))
    line.freeze()


@scenario(200, None)
def k_closed_at_second(line: Line) -> None:
    line.send(ok(line.request()))
    line.request()
    line.end()


@scenario(200, 200, pause_units=10)
def k_stray_answer_while_idle(line: Line) -> None:
    line.send(ok(line.request()))
    line.wait(1)
    line.send(ok("stray"))
    line.send(ok(line.request()))


@scenario(200, 200, 200)
def k_stray_answer_glued_on(line: Line) -> None:
    while True:
        mark = line.request()
        line.send(ok(mark) + ok("stray"))


@scenario(200, 200)
def k_stray_half_glued_on(line: Line) -> None:
    """What was read beyond the first answer is the only sign that this connection is not clean."""
    line.send(ok(line.request()) + b"HTTP/1.1 ")
    if line.number == 1:
        line.request()
        line.send(ok("stray"))


@scenario(200, 200, 200)
def k_103_first(line: Line) -> None:
    while True:
        mark = line.request()
        line.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        line.wait(1)
        line.send(ok(mark))


@scenario(200, 200)
def k_says_close_and_stays(line: Line) -> None:
    line.send(ok(line.request(), b"Connection: close\r\n"))
    line.stall()


@scenario(200, 200)
def k_both_lengths(line: Line) -> None:
    """Chunked and with a length: readable, but where it ends is a matter of opinion."""
    mark = line.request()
    both = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
    line.send(both + b"%x\r\nack:%s\r\n0\r\n\r\n" % (len(mark) + 4, mark.encode()))
    line.stall()
