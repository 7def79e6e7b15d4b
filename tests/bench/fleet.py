"""Ten thousand agents come back after a shared outage of an hour: what does the server see?

    python -m tests.bench.fleet [--agents 10000] [--outage 3600] [--capacity 3000] [--svg FILE]

Virtual time, the real decisions: how long to wait (shipper/backoff.py), which batches go next and how many fit in a
request (shipper/lanes.py). Each agent closes a window every 10 s at a phase of its own and sends as the shipper does:
the newest window first, then backlog and live in turns, at most `backlog_requests_per_s`. The server answers 503
beyond its capacity.

Printed: requests per second from the moment the server is back, with jitter as it is, and without (every agent waits
the whole ceiling), and what the bar is: a peak of at most twice the steady rate plus what the backlog adds while it
drains. Then the same where the server was there but refused everybody, so that all were parked: also what it was asked
meanwhile. Not simulated: the network, and how long a request takes.
"""

import argparse
import heapq
import math
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC
from pathlib import Path

from shipper.backoff import probe_wait_s, wait_s
from shipper.lanes import Lane, Limits, choose
from spool.plot import Chart, Line, svg

WINDOW_S = 10.0
BATCH_BYTES = 2_000
RAW_BYTES = 15_000
BACKLOG_PACE_S = 1 / 50


@dataclass(frozen=True, slots=True)
class Window:
    id: int
    payload_bytes: int = BATCH_BYTES
    raw_bytes: int = RAW_BYTES


@dataclass(slots=True)
class Agent:
    phase_s: float
    sent: int = 0  # every window up to this one has arrived
    live_sent: int = 0  # and this newest one, ahead of the backlog
    failures: int = 0
    previous: Lane | None = None

    def newest(self, now: float) -> int:
        return int((now - self.phase_s) // WINDOW_S)


def simulate(
    agents: int, outage_s: float, capacity: float, draw: Callable[[], float], seed: int, *, parked: bool = False
) -> Counter[int]:
    """Requests in each second after the server is back at 0; the outage began at -outage_s.

    `parked`: it was there and refused everybody, which is counted, too.
    """
    chance = random.Random(seed)
    limits = Limits()
    fleet = []
    events: list[tuple[float, int]] = []
    for number in range(agents):
        agent = Agent(chance.uniform(0, WINDOW_S))
        agent.sent = agent.live_sent = agent.newest(-outage_s)
        fleet.append(agent)
        heapq.heappush(events, (-outage_s + chance.uniform(0, WINDOW_S), number))
    seen: Counter[int] = Counter()
    while events:
        now, number = heapq.heappop(events)
        if now > 300:
            break
        agent = fleet[number]
        if now < 0:  # nobody there: what would have been in the request makes no difference
            agent.failures += 1
            pause_s = probe_wait_s(draw()) if parked else wait_s(agent.failures, draw())
            heapq.heappush(events, (now + pause_s, number))
            if parked:
                seen[math.floor(now)] += 1
            continue
        newest = agent.newest(now)
        live = [Window(newest)] if newest > agent.live_sent else []
        backlog = [Window(each) for each in range(agent.sent + 1, min(newest + 1, agent.sent + 501))]
        backlog = [each for each in backlog if each.id != agent.live_sent]
        fitting = replace(limits, batches=1) if parked and agent.failures else limits
        chosen = choose(live, backlog, agent.previous, fitting)
        if chosen is None:
            heapq.heappush(events, ((newest + 1) * WINDOW_S + agent.phase_s + 0.5, number))
            continue
        agent.previous, batches = chosen
        seen[int(now)] += 1
        if seen[int(now)] > capacity:
            agent.failures += 1
            heapq.heappush(events, (now + wait_s(agent.failures, draw()), number))
            continue
        agent.failures = 0
        if agent.previous is Lane.LIVE:
            agent.live_sent = newest
        else:
            agent.sent = batches[-1].id
        if agent.live_sent <= agent.sent + 1:
            agent.sent = max(agent.sent, agent.live_sent)
        heapq.heappush(events, (now + BACKLOG_PACE_S, number))
    return seen


def show(title: str, seen: Counter[int], steady: float) -> None:
    """A line per second of the first minute, a bar per half of the steady rate."""
    peak = max(seen.values())
    print(f"\n{title}: peak {peak} requests/s = {peak / steady:.1f} x steady ({steady:.0f}/s)")
    for second in range(0, 90, 5):
        most = max(seen[each] for each in range(second, second + 5))
        print(f"  {second:3} s {most:7} {'#' * min(100, round(4 * most / steady))}")


def picture(jittered: Counter[int], lockstep: Counter[int], steady: float, title: str) -> str:
    """Both load curves of the first minutes as an SVG."""
    until_s = 120
    lines = [
        Line(label, [(second, seen[second] / steady) for second in range(until_s)])
        for label, seen in (("as it is, with jitter", jittered), ("if no agent drew its wait at random", lockstep))
    ]
    return svg(
        Chart(
            title=title,
            dots=[],
            x_range=(0, until_s),
            x_label=lambda second: f"{second:.0f} s",
            y_label=lambda times: f"{times:g} x",
            lines=lines,
            desc=f"Requests per second since the server is back, in multiples of the steady {steady:.0f} per second.",
        ),
        UTC,
    )


def main() -> None:
    """Both runs, side by side."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agents", type=int, default=10_000)
    parser.add_argument("--outage", type=float, default=3_600)
    parser.add_argument("--capacity", type=float, default=1e9, help="requests/s that the server takes; beyond it: 503")
    parser.add_argument("--svg", type=Path, help="draw both curves into this file")
    given = parser.parse_args()
    steady = given.agents / WINDOW_S
    chance = random.Random(1)
    jittered = simulate(given.agents, given.outage, given.capacity, chance.random, 7)
    lockstep = simulate(given.agents, given.outage, given.capacity, lambda: 1.0, 7)
    show("with jitter", jittered, steady)
    show("without", lockstep, steady)
    refused = simulate(given.agents, given.outage, given.capacity, chance.random, 7, parked=True)
    asked = max(number for second, number in refused.items() if -300 <= second < 0)
    show("after 401 for everybody", Counter({at: each for at, each in refused.items() if at >= 0}), steady)
    print(f"  and while it refused them: at most {asked} requests/s = {asked / steady:.2f} x steady, of one batch each")
    if given.svg:
        hours = f"{given.outage / 3600:g} h"
        title = f"{given.agents:,} agents after {hours} without a server: requests/s, steady = 1"
        given.svg.write_text(picture(jittered, lockstep, steady, title))
    peak, unspread = max(jittered.values()), max(lockstep.values())
    print(f"\npeak with jitter / steady = {peak / steady:.2f}; without / with = {unspread / peak:.1f}")


if __name__ == "__main__":
    main()
