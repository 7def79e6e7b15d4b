"""The Grafana dashboard: Grafana can import it, and it asks for metrics that there are, by the names that they have."""

import re
from itertools import product

import pytest

from collector.selfmetrics import SELF_METRICS
from tests.destinations.dashboard import DASHBOARD, FILE, QUERIES

[HOSTS] = [each["query"]["query"] for each in DASHBOARD["templating"]["list"] if each["name"] == "host"]
NAMED = re.compile(r'\{__name__=~"([^"]+)"')
ARRIVE = {
    name: each.name
    for each in SELF_METRICS
    for name in (
        f"{each.name}_value",  # influx, at VictoriaMetrics
        each.name.replace(".", "_") + ("_delta" if each.type == "counter" else ""),  # prometheus
    )
}


def test_it_is_a_dashboard_whose_panels_ask_for_something_and_do_not_overlap() -> None:
    assert DASHBOARD["title"] and DASHBOARD["uid"] and DASHBOARD["schemaVersion"] and "id" not in DASHBOARD
    panels = DASHBOARD["panels"]
    assert len({each["id"] for each in panels}) == len({each["title"] for each in panels}) == len(panels) > 0
    taken: set[tuple[int, int]] = set()
    for each in panels:
        assert each["type"] and each["description"]
        x, y, w, h = (each["gridPos"][key] for key in "xywh")
        cells = set(product(range(x, x + w), range(y, y + h)))
        assert x + w <= 24 and not cells & taken
        taken |= cells
        assert each["targets"] and len({target["refId"] for target in each["targets"]}) == len(each["targets"])
    variables = {each["name"] for each in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{?(?!__)(\w+)", FILE.read_text()))
    assert used == variables == {"datasource", "host"}


@pytest.mark.parametrize("query", [*QUERIES, HOSTS])
def test_a_query_asks_for_one_metric_of_the_collector_under_both_of_its_names(query: str) -> None:
    (named,) = NAMED.findall(query)
    met = [name for name in ARRIVE if re.fullmatch(named, name)]
    assert len(met) == 2 and len({ARRIVE[each] for each in met}) == 1


def test_every_loss_and_what_warns_of_one_is_shown() -> None:
    named = [each for query in QUERIES for each in NAMED.findall(query)]
    shown = {metric for name, metric in ARRIVE.items() if any(re.fullmatch(each, name) for each in named)}
    assert {each.name for each in SELF_METRICS if each.loss} <= shown
    assert {"holdfast.lines", "holdfast.series", "holdfast.commit_ms", "holdfast.windows_waiting"} <= shown
