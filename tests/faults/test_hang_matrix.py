"""The hang matrix: whatever peer, network, proxy and resolver do, an attempt ends in time and is not misread.

All cases of a run are made by one client process (tests/faults/client.py) against one server process
(tests/faults/peer.py), beside a collector that must not notice; each test here looks at the results of one case.
"""

import json
import socket
import subprocess
import sys
import time
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.faults.line import UNITS_IN_DEADLINE
from tests.faults.meanwhile import Meanwhile, collecting
from tests.faults.scenarios import SCENARIOS, Scenario
from tests.needed import lacking

ROOT = Path(__file__).parents[2]
ALLOWED_OVERSHOOT_S = 0.25
ALLOWED_KIB = 64 * 1024
COMMITTED_WITHIN_S = 1.0
CASES = [(each, scheme) for each in SCENARIOS for scheme in each.schemes]


@dataclass
class Run:
    """`results`: by "scenario/scheme" what client.py says of the case."""

    results: dict[str, dict[str, Any]]
    exit_s: float

    def attempts(self, scenario: Scenario, scheme: str) -> list[dict[str, Any]]:
        return self.results[f"{scenario.name}/{scheme}"]["attempts"]


def told(scenario: Scenario, scheme: str, ports: dict[str, int], where: dict[str, Any]) -> dict[str, Any]:
    """What the client is told of one case; `where` is what all cases share."""
    own, host = ports[f"{scenario.name}/{scheme}"], where["host"]
    unit_s = where["deadline_s"] / UNITS_IN_DEADLINE
    address = {"good": ("127.0.0.1", own), "dead": ("127.0.0.1", ports["t_syn_dropped/http"])}
    case = {
        **where,
        "url": f"{scheme}://{'stub.test' if scenario.names else host}:{own}/v1/batches",
        "attempts": len(scenario.expect),
        "pause_s": scenario.pause_units * unit_s,
        "body_bytes": scenario.body_bytes,
        "names": [
            [wait * unit_s, None if found is None else [address[each] for each in found]]
            for wait, found in scenario.names
        ],
    }
    if scenario.proxy:
        case["proxy"] = f"{scheme}://{host}:{own}"
        case["url"] = f"https://{host}:{ports[scenario.target + '/https']}/v1/batches"
    return case


def run(
    folder: Path,
    deadline_s: float,
    cases: list[tuple[Scenario, str]],
    *,
    address: str = "127.0.0.1",
    client: Sequence[str] = (sys.executable,),
    one_by_one: bool = False,
) -> Run:
    """Make the attempts of all `cases`. `client` is the command that runs Python for the client."""
    peer = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.peer", str(folder), str(deadline_s), address],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        ports = json.loads(peer.stdout.readline())
        where = {
            "host": f"[{address}]" if ":" in address else address,
            "ca_file": str(folder / "ca.pem"),
            "deadline_s": deadline_s,
        }
        ended = subprocess.run(
            [*client, "-m", "tests.faults.client", *(["one-by-one"] if one_by_one else [])],
            cwd=ROOT,
            input=json.dumps([told(*each, ports, where) for each in cases]).encode(),
            stdout=subprocess.PIPE,
            timeout=30 + len(cases) * deadline_s,
            check=True,
        )
        ended_at = time.time()
    finally:
        peer.communicate(b"", timeout=10)
    report = json.loads(ended.stdout)
    names = [f"{scenario.name}/{scheme}" for scenario, scheme in cases]
    results = dict(zip(names, report["results"], strict=True))
    return Run(results, ended_at - report["ended_at"])


def judge(scenario: Scenario, attempts: list[dict[str, Any]], deadline_s: float) -> None:
    """Every attempt in time, every answer the right one."""
    for number, (attempt, status) in enumerate(zip(attempts, scenario.expect, strict=True)):
        assert attempt["took_s"] <= deadline_s + ALLOWED_OVERSHOOT_S, attempt
        assert attempt["total_ms"] <= attempt["took_s"] * 1000
        response = attempt["response"]
        if status is None:
            assert response is None, f"a response where none was complete: {attempt}"
            assert attempt["error"] and attempt["error"].isprintable(), attempt
        else:
            assert response is not None, attempt["error"]
            assert response["status"] == status, attempt
            assert attempt["error"] is None
            if status == 200:
                assert response["body"].strip() == f"ack:m{number}", "the answer to another request"
    last = attempts[-1]
    if scenario.late:
        assert last["deadline_exceeded"], last
        assert last["took_s"] >= deadline_s, last
        assert "deadline of" in last["error"]
    elif scenario.late is False and last["response"] is None and not scenario.names:
        assert not last["deadline_exceeded"], f"should have been noticed sooner: {last}"
    if scenario.phase:
        assert last["phase"] == scenario.phase, last
    if scenario.error:
        assert scenario.error in last["error"]


def judge_all(made: Run, cases: list[tuple[Scenario, str]], deadline_s: float) -> None:
    for scenario, scheme in cases:
        judge(scenario, made.attempts(scenario, scheme), deadline_s)
        assert made.results[f"{scenario.name}/{scheme}"]["peak_kib"] < ALLOWED_KIB


@pytest.fixture(scope="module")
def one_second(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Meanwhile]:
    with collecting(tmp_path_factory.mktemp("collector")) as meanwhile:
        made = run(tmp_path_factory.mktemp("peer"), 1.0, CASES)
    return made, meanwhile


by_name = pytest.mark.parametrize(("scenario", "scheme"), CASES, ids=lambda each: getattr(each, "name", each))


@by_name
def test_an_attempt_ends_in_time_and_is_not_misread(
    scenario: Scenario, scheme: str, one_second: tuple[Run, Meanwhile]
) -> None:
    judge(scenario, one_second[0].attempts(scenario, scheme), 1.0)


@by_name
def test_memory_stays_small_and_collection_commits_on_time_meanwhile(
    scenario: Scenario, scheme: str, one_second: tuple[Run, Meanwhile]
) -> None:
    made, meanwhile = one_second
    seen = made.results[f"{scenario.name}/{scheme}"]
    assert seen["peak_kib"] < ALLOWED_KIB  # of all cases so far, and of those beside it
    windows = meanwhile.during(seen["began_at"], seen["ended_at"])
    assert windows
    for each in windows:
        assert each["committed_at"] - each["window_end"] <= COMMITTED_WITHIN_S, each


def test_collection_missed_nothing_in_all_that_time(one_second: tuple[Run, Meanwhile]) -> None:
    _, meanwhile = one_second
    numbers = [each["seq"] for each in meanwhile.windows]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert sum(each["accepted"] for each in meanwhile.windows) == meanwhile.sent


def test_a_hanging_resolver_does_not_delay_the_end_of_the_process(one_second: tuple[Run, Meanwhile]) -> None:
    assert one_second[0].exit_s < 2.0


def test_the_matrix_is_as_large_as_promised() -> None:
    assert len({each.name for each in SCENARIOS if not each.name.startswith("c_")}) >= 100
    assert len({each.name for each in SCENARIOS}) == len(SCENARIOS)


def test_ipv6_too(tmp_path: Path) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        lacking(f"no IPv6 on loopback: {error}")
    names = {"c_ok", "c_proxy", "l_drip", "s_drip", "t_syn_dropped", "w_trickle", "b_drip", "p_headers_slow"}
    cases = [each for each in CASES if each[0].name in names]
    judge_all(run(tmp_path, 1.0, cases, address="::1"), cases, 1.0)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("deadline_s", [0.5, 20.0])
def test_shorter_and_longer_deadlines(deadline_s: float, tmp_path: Path) -> None:
    judge_all(run(tmp_path, deadline_s, CASES), CASES, deadline_s)


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_the_oldest_libraries_that_are_allowed(tmp_path: Path) -> None:
    """In an environment of its own. Keep the versions the same as the lower bounds in pyproject.toml."""
    environment = tmp_path / "oldest"
    venv.create(environment, with_pip=True)
    python = str(environment / "bin/python")
    subprocess.run([python, "-m", "pip", "-q", "install", "requests==2.31.0", "urllib3==2.0.2", "click"], check=True)
    judge_all(run(tmp_path, 1.0, CASES, client=(python,)), CASES, 1.0)
