"""The misbehaving server: `python -m tests.faults.peer FOLDER DEADLINE_S [ADDRESS]`.

Writes FOLDER/ca.pem, opens one port per scenario and scheme, prints {"NAME/SCHEME": port} as one line of
JSON, and serves until its standard input ends. Scenarios that freeze have a process each.
"""

import ctypes
import json
import os
import signal
import socket
import ssl
import sys
import threading
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme

from tests.faults.line import UNITS_IN_DEADLINE, Line, Over, Server
from tests.faults.scenarios import SCENARIOS, Scenario


def contexts(folder: Path) -> dict[str, ssl.SSLContext]:
    """Certificates, good and wrong ones."""
    authority, stranger = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    names = ("localhost", "127.0.0.1", "::1", "stub.test")
    past = datetime.now(UTC) - timedelta(days=2)
    certificates = {
        "good": authority.issue_cert(*names),
        "stranger": stranger.issue_cert(*names),
        "other-name": authority.issue_cert("elsewhere.test"),
        "expired": authority.issue_cert(*names, not_after=past),
        "old-tls": authority.issue_cert(*names),
        "many-tickets": authority.issue_cert(*names),
    }
    made = {}
    for name, certificate in certificates.items():
        made[name] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(made[name])
    made["old-tls"].set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore"):  # that it is deprecated is the point
        made["old-tls"].minimum_version = ssl.TLSVersion.TLSv1
        made["old-tls"].maximum_version = ssl.TLSVersion.TLSv1_1
    made["many-tickets"].num_tickets = 1000
    return made


def converse(scenario: Scenario, scheme: str, line: Line) -> None:
    try:
        if scheme == "https" and not scenario.raw:
            line.handshake()
        scenario.act(line)
    except (OSError, ValueError, Over):
        pass  # the client has gone, or the tests are over
    finally:
        try:
            line.sock.close()
        except OSError:
            pass


def serve(scenario: Scenario, scheme: str, listener: socket.socket, server: Server) -> None:
    if scenario.full:  # nobody ever accepts: the backlog fills up, further SYNs are dropped
        listener.listen(0)
        fillers = [socket.socket(listener.family) for _ in range(4)]
        for each in fillers:
            each.setblocking(False)
            each.connect_ex(listener.getsockname())
        server.over.wait()
        return
    number = 0
    while True:
        sock, _address = listener.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else answers wait for delayed ACKs
        number += 1
        line = Line(sock, server, number)
        threading.Thread(target=converse, args=(scenario, scheme, line), daemon=True).start()


def main() -> None:
    folder, deadline_s = Path(sys.argv[1]), float(sys.argv[2])
    address = sys.argv[3] if len(sys.argv) > 3 else "127.0.0.1"
    server = Server(threading.Event(), deadline_s / UNITS_IN_DEADLINE, contexts(folder))
    ports: dict[str, int] = {}
    here, frozen = [], []
    for scenario in SCENARIOS:
        for scheme in scenario.schemes:
            listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
            if scenario.small_buffer:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            listener.bind((address, 0))
            listener.listen(0 if scenario.full else 64)
            ports[f"{scenario.name}/{scheme}"] = listener.getsockname()[1]
            if not scenario.freezes:
                here.append((scenario, scheme, listener))
                continue
            child = os.fork()
            if child == 0:
                ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: a frozen process ends with us
                serve(scenario, scheme, listener, server)
                os._exit(0)
            frozen.append(child)
            listener.close()
    for each in here:
        threading.Thread(target=serve, args=(*each, server), daemon=True).start()
    print(json.dumps(ports), flush=True)
    sys.stdin.read()
    server.over.set()
    for child in frozen:
        os.kill(child, 9)
        os.waitpid(child, 0)
    os._exit(0)


if __name__ == "__main__":
    main()
