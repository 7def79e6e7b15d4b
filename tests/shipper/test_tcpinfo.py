"""The kernel's numbers about a connection."""

import socket

from shipper.tcpinfo import SIZE_BYTES, parse, words


def test_a_real_connection_tells_its_state_and_times() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        accepted, _ = server.accept()
        client.sendall(b"x" * 100)
        accepted.recv(100)
        state = parse(client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, SIZE_BYTES))
        accepted.close()
    assert state["state"] == 1 and state["retransmits"] == 0
    assert 0 < state["rtt_us"] < 5_000_000 and state["rto_us"] >= 1_000 and state["snd_mss"] > 500
    assert words(state).startswith("ESTABLISHED ") and " rtt_us=" in words(state)


def test_what_is_too_short_is_nothing() -> None:
    assert parse(bytes(SIZE_BYTES - 1)) == {}
    assert words({"state": 99}) == "?" == words({})
