"""What one program hands on, another has: sockets with what waits in them, and state; nothing else."""

import json
import os
import socket
import subprocess
import sys

import pytest

from collector.inherit import VARIABLE, descriptors, from_memory, hand_on, in_memory, sockets_of, take_over

CHILD = """
import os, socket
from collector.inherit import from_memory, take_over
handed = take_over(os.environ)
with socket.socket(fileno=handed["udp://x:0"][0]) as bound:
    waiting = bound.recv(100).decode()
print(waiting, ascii(from_memory(handed["state"][0])), sorted(handed), os.environ.get("HOLDFAST_INHERITED"))
"""


def test_a_child_has_the_socket_with_what_waits_in_it_and_the_state():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound, socket.socket(type=socket.SOCK_DGRAM) as sender:
        bound.bind(("127.0.0.1", 0))
        sender.sendto(b"a:1|c", bound.getsockname())
        state = in_memory({"gauges": {"temp\0k\0v": 1.5, "\udcff": 1e100}})
        handed = {"udp://x:0": [bound.fileno()], "state": [state]}
        done = subprocess.run(
            [sys.executable, "-c", CHILD],
            env=os.environ | hand_on(handed),
            pass_fds=descriptors(handed),
            capture_output=True,
            text=True,
            check=False,
        )
        os.close(state)
    said = ascii({"gauges": {"temp\0k\0v": 1.5, "\udcff": 1e100}})
    assert done.stdout.strip() == f"a:1|c {said} ['state', 'udp://x:0'] None", done.stderr


def test_what_is_taken_over_is_taken_once_and_does_not_outlive_another_exec():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        environment = hand_on({"udp://x:0": [bound.fileno()]})
        assert os.get_inheritable(bound.fileno())
        assert take_over(environment) == {"udp://x:0": [bound.fileno()]}
        assert not os.get_inheritable(bound.fileno())
        assert take_over(environment) == {}


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"a": 1}', '{"a": ["x"]}', '{"a": null}'])
def test_a_variable_of_somebody_else_is_no_inheritance(text):
    assert take_over({VARIABLE: text}) == {}


def test_descriptors_that_are_not_open_are_left_out():
    closed = in_memory({})
    os.close(closed)
    assert take_over({VARIABLE: json.dumps({"udp://x:0": [closed], "state": [closed]})}) == {}


def test_listeners_are_what_has_a_url_for_a_name():
    assert sockets_of({"udp://x:0": (3, 4), "state": (5,), "streams": (6,)}) == {"udp://x:0": [3, 4]}


def test_a_descriptor_with_anything_else_in_it_is_refused():
    reading, writing = os.pipe()
    os.close(writing)
    with pytest.raises((ValueError, OSError)):
        from_memory(reading)
    os.close(reading)
