"""Status line, headers, body, redirects, refusals: answers that are slow, endless, cut, or lies."""

import gzip

from tests.faults.line import Line, ok
from tests.faults.scenario import scenario

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
HTTPS_ONLY = ("https",)


def asked(line: Line) -> str:
    return line.request()


# --- controls --------------------------------------------------------------------------------------------


@scenario(200, 200, 200)
def c_ok(line: Line) -> None:
    while True:
        line.send(ok(asked(line)))


@scenario(200)
def c_slow(line: Line) -> None:
    mark = asked(line)
    line.wait(4)
    line.drip(ok(mark)[:20], 0.2)
    line.wait(2)
    line.send(ok(mark)[20:])


@scenario(200, body_bytes=2**20)
def c_big_body(line: Line) -> None:
    line.send(ok(asked(line)))


@scenario(200, 200)
def c_chunked(line: Line) -> None:
    while True:
        mark = asked(line)
        line.send(CHUNKED + b"4;x=y\r\nack:\r\n%x\r\n%s\r\n0\r\nT: t\r\n\r\n" % (len(mark), mark.encode()))


@scenario(200)
def c_until_eof(line: Line) -> None:
    line.send(OK + b"\r\nack:" + asked(line).encode())
    line.end()


@scenario(204, 204)
def c_204(line: Line) -> None:
    while True:
        asked(line)
        line.send(b"HTTP/1.1 204 No Content\r\n\r\n")


@scenario(200, 200)
def c_interim_answers(line: Line) -> None:
    while True:
        mark = asked(line)
        line.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
        line.wait(1)
        line.send(ok(mark))


@scenario(200)
def c_gzip(line: Line) -> None:
    body = gzip.compress(b"ack:" + asked(line).encode())
    line.send(OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


@scenario(200)
def c_longest_body(line: Line) -> None:
    body = (b"ack:" + asked(line).encode()).ljust(65536)
    line.send(OK + b"Content-Length: 65536\r\n\r\n" + body)


@scenario(200)
def c_15_kib_of_headers(line: Line) -> None:
    line.send(ok(asked(line), b"X-Long: " + b"a" * 15 * 1024 + b"\r\n"))


@scenario(200)
def c_http_1_0(line: Line) -> None:
    line.send(b"HTTP/1.0 200 OK\r\n\r\nack:" + asked(line).encode())
    line.end()


# --- status line -----------------------------------------------------------------------------------------


@scenario(None, late=True, phase="wait")
def s_stall(line: Line) -> None:
    asked(line)
    line.stall()


@scenario(None, late=True)
def s_drip(line: Line) -> None:
    line.drip(ok(asked(line)))


@scenario(None, late=True, freezes=True, phase="wait")
def s_frozen(line: Line) -> None:
    asked(line)
    line.freeze()


@scenario(None)
def s_1xx_flood(line: Line) -> None:
    asked(line)
    line.flood(b"HTTP/1.1 100 Continue\r\n\r\n" * 10)


@scenario(None, late=True)
def s_1xx_slow(line: Line) -> None:
    asked(line)
    line.drip_on(b"HTTP/1.1 100 Continue\r\n\r\n", 2)


@scenario(None, late=True)
def s_103_slow(line: Line) -> None:
    asked(line)
    line.drip_on(b"HTTP/1.1 103 Early Hints\r\n\r\n", 2)


@scenario(None)
def s_101(line: Line) -> None:
    asked(line)
    line.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n")
    line.stall()


@scenario(None)
def s_garbage_flood(line: Line) -> None:
    asked(line)
    line.flood(b"\x00\xffgarbage" * 1000)


@scenario(None)
def s_garbage_line(line: Line) -> None:
    asked(line)
    line.send(b"220 mail.example.net ESMTP\r\n")
    line.stall()


@scenario(None)
def s_http_2(line: Line) -> None:
    asked(line)
    line.send(b"HTTP/2 200\r\nContent-Length: 0\r\n\r\n")
    line.stall()


@scenario(None)
def s_absurd_status(line: Line) -> None:
    asked(line)
    line.send(b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n")
    line.stall()


@scenario(None)
def s_half(line: Line) -> None:
    asked(line)
    line.send(b"HTTP/1.1 200")
    line.end()


@scenario(None)
def s_closed(line: Line) -> None:
    asked(line)
    line.end()


@scenario(None)
def s_cut(line: Line) -> None:
    asked(line)
    line.fin()


@scenario(None)
def s_reset(line: Line) -> None:
    asked(line)
    line.rst()


# --- headers ---------------------------------------------------------------------------------------------


@scenario(None, late=True)
def h_drip(line: Line) -> None:
    asked(line)
    line.send(OK)
    line.drip_on()


@scenario(None, late=True)
def h_slow(line: Line) -> None:
    asked(line)
    line.send(OK)
    line.drip_on(b"X-Slow: a\r\n")


@scenario(None, late=True)
def h_stall(line: Line) -> None:
    asked(line)
    line.send(OK + b"Content-Length: 0\r\n")
    line.stall()


@scenario(None)
def h_flood(line: Line) -> None:
    asked(line)
    line.send(OK)
    line.flood(b"X-Flood: " + b"a" * 1000 + b"\r\n")


@scenario(None)
def h_bomb(line: Line) -> None:
    asked(line)
    line.send(OK)
    line.flood(b"a:b\r\n" * 1000)


@scenario(None)
def h_endless_line(line: Line) -> None:
    asked(line)
    line.send(OK + b"X-Long: ")
    line.flood(b"a" * 10000)


@scenario(None)
def h_closed(line: Line) -> None:
    asked(line)
    line.send(OK + b"Content-Length: 5\r\n")
    line.end()


@scenario(None)
def h_reset(line: Line) -> None:
    asked(line)
    line.send(OK + b"Content-Length: 5\r\n")
    line.rst()


@scenario(None)
def h_malformed(line: Line) -> None:
    asked(line)
    line.send(OK + b"this is not a header\r\nContent-Length: 6\r\n\r\nack:m0")
    line.end()


@scenario(None)
def h_two_lengths(line: Line) -> None:
    asked(line)
    line.send(OK + b"Content-Length: 6\r\nContent-Length: 7\r\n\r\nack:m0")
    line.end()


@scenario(None)
def h_negative_length(line: Line) -> None:
    asked(line)
    line.send(OK + b"Content-Length: -1\r\n\r\nack:m0")
    line.end()


@scenario(None)
def h_unknown_coding(line: Line) -> None:
    asked(line)
    line.send(OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n")
    line.end()


# --- body ------------------------------------------------------------------------------------------------


@scenario(None, late=True, phase="read")
def b_stall(line: Line) -> None:
    asked(line)
    line.send(OK + b"Content-Length: 10\r\n\r\nack:m")
    line.stall()


@scenario(None, late=True)
def b_drip(line: Line) -> None:
    asked(line)
    line.send(OK + b"Content-Length: 1000\r\n\r\n")
    line.drip_on()


@scenario(None, late=True)
def b_drip_until_eof(line: Line) -> None:
    asked(line)
    line.send(OK + b"\r\n")
    line.drip_on()


@scenario(None)
def b_flood(line: Line) -> None:
    asked(line)
    line.send(CHUNKED)
    line.flood(b"8000\r\n" + b"a" * 0x8000 + b"\r\n")


@scenario(None)
def b_flood_until_eof(line: Line) -> None:
    asked(line)
    line.send(OK + b"\r\n")
    line.flood(b"a" * 65536)


@scenario(None)
def b_huge_length(line: Line) -> None:
    asked(line)
    line.send(OK + b"Content-Length: 99999999999999\r\n\r\n")
    line.flood(b"a" * 65536)


@scenario(None)
def b_one_byte_too_long(line: Line) -> None:
    asked(line)
    line.send(OK + b"Content-Length: 65537\r\n\r\n" + b"a" * 65537)
    line.stall()


@scenario(None)
def b_cut(line: Line) -> None:
    asked(line)
    line.send(OK + b"Content-Length: 10\r\n\r\nack:m0")
    line.end()


@scenario(None)
def b_reset(line: Line) -> None:
    asked(line)
    line.send(OK + b"Content-Length: 10\r\n\r\nack:m0")
    line.rst()


@scenario(None, schemes=HTTPS_ONLY)
def b_no_close_notify(line: Line) -> None:
    asked(line)
    line.send(OK + b"\r\nack:m0")
    line.fin()


@scenario(None, late=True)
def b_chunk_drip(line: Line) -> None:
    asked(line)
    line.send(CHUNKED)
    line.drip_on(b"1\r\na\r\n")


@scenario(None, late=True)
def b_chunk_extension_drip(line: Line) -> None:
    asked(line)
    line.send(CHUNKED + b"5;")
    line.drip_on()


@scenario(None)
def b_chunk_extension_flood(line: Line) -> None:
    asked(line)
    line.send(CHUNKED)
    line.flood(b"1;" + b"e" * 4000 + b"\r\na\r\n")


@scenario(None)
def b_chunk_size_nonsense(line: Line) -> None:
    asked(line)
    line.send(CHUNKED + b"zz\r\nack:m0\r\n0\r\n\r\n")
    line.stall()


@scenario(None)
def b_chunks_cut(line: Line) -> None:
    asked(line)
    line.send(CHUNKED + b"6\r\nack:m0\r\n")
    line.end()


@scenario(None)
def b_trailer_flood(line: Line) -> None:
    asked(line)
    line.send(CHUNKED + b"6\r\nack:m0\r\n0\r\n")
    line.flood(b"X-Trailer: a\r\n" * 100)


@scenario(None, late=True)
def b_trailer_slow(line: Line) -> None:
    asked(line)
    line.send(CHUNKED + b"6\r\nack:m0\r\n0\r\n")
    line.drip_on(b"X-Trailer: a\r\n")
