"""What the kernel knows of a TCP connection, as numbers: what `ss -tin` would show. Pure.

struct tcp_info (linux/tcp.h): 8 bytes, then 24 unsigned 32-bit numbers

    0 state  1 ca_state  2 retransmits  3 probes  4 backoff  5 options  6 window scales  7 flags
    8 rto    12 ato ...                                                                        100 total_retrans
"""

import struct
from collections.abc import Mapping

_LAYOUT = struct.Struct("8B24I")
SIZE_BYTES = _LAYOUT.size

_NAMES = (
    *("state", "ca_state", "retransmits", "probes", "backoff", "options", "window_scales", "flags"),
    *("rto_us", "ato_us", "snd_mss", "rcv_mss", "unacked", "sacked", "lost", "retrans", "fackets"),
    *("last_data_sent_ms", "last_ack_sent_ms", "last_data_recv_ms", "last_ack_recv_ms"),
    *("pmtu", "rcv_ssthresh", "rtt_us", "rttvar_us", "snd_ssthresh", "snd_cwnd", "advmss", "reordering"),
    *("rcv_rtt_us", "rcv_space", "total_retrans"),
)

_KEPT = {
    *("state", "retransmits", "probes", "backoff", "rto_us", "snd_mss", "unacked", "lost", "total_retrans"),
    *("last_data_sent_ms", "last_data_recv_ms", "last_ack_recv_ms", "rtt_us", "rttvar_us", "snd_cwnd"),
}

STATES = (
    *("?", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT", "CLOSE", "CLOSE_WAIT"),
    *("LAST_ACK", "LISTEN", "CLOSING"),
)
"""Names of `state` (include/net/tcp_states.h)."""


def parse(info: bytes) -> dict[str, int]:
    """The telling ones of the numbers in a tcp_info; nothing if it is shorter than every kernel's of this century."""
    if len(info) < SIZE_BYTES:
        return {}
    return {name: number for name, number in zip(_NAMES, _LAYOUT.unpack_from(info), strict=True) if name in _KEPT}


def words(state: Mapping[str, int]) -> str:
    """One line: ESTABLISHED unacked_bytes=65483 unsent_bytes=1048576 retransmits=3 ..."""
    number = state.get("state", 0)
    name = STATES[number] if 0 <= number < len(STATES) else "?"
    return " ".join([name, *(f"{fact}={value}" for fact, value in state.items() if fact != "state")])
