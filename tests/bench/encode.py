"""How fast batches become requests, beside the reference library of each format: `python -m tests.bench.encode`.

For each protocol: microseconds for each point of a batch of 1,000 points (reading the stored JSON and compressing
included) and bytes of the request. `bare` leaves out what the libraries do not do either: reading the batch and
compressing. Then the libraries, given the same readings: influxdb-client's Point for the line protocol, and messages
built and serialised by the protobuf library, of opentelemetry-proto for OTLP and of Prometheus' schema for remote
write. influxdb-client is installed for this alone (`pip install influxdb-client`); without it its row is left out.
"""

import gzip
import random
from collections.abc import Callable, Sequence
from importlib import import_module
from unittest import mock

from shipper.protocols import KNOWN
from spool.batch import Batch, encode
from spool.readings import Reading, readings
from tests.bench.measure import durations_ms, table, window

POINTS, TIMES = 1_000, 40
URLS = {
    "holdfast": "https://h/v1/batches",
    "influx": "https://h/write?db=m",
    "prometheus": "https://h/api/v1/write",
    "otlp": "https://h/v1/metrics",
    "graphite": "tcp://h:2003",
    "datadog": "https://h/api/v2/series",
    "webhook": "https://h/hook",
}


def main() -> None:
    """One row for each protocol and library."""
    like = window(1, POINTS, random.Random(1))
    batch = encode("id", 1, "host-1", like, like.points, like.end)
    known = list(readings([batch]))
    rows: list[tuple[object, ...]] = []
    for name, url in URLS.items():
        whole_us, size = each_us(lambda name=name, url=url: KNOWN[name].encode([batch], url, None).body)  # type: ignore[misc]
        rows.append((name, whole_us, bare_us(name, url, batch, known), size))
    for name, library in (
        ("influxdb-client", influxdb_client),
        ("opentelemetry-proto", opentelemetry_proto),
        ("remote write by protobuf", remote_write),
    ):
        try:
            library(known[:1])
        except ModuleNotFoundError as error:
            print(f"{name} is left out: {error}")
            continue
        taken_us, size = each_us(lambda library=library: library(known))  # type: ignore[misc]
        rows.append((name, "-", taken_us, size))
    table(("protocol", "us/point", "bare us/point", "bytes"), rows)


def each_us(run: Callable[[], bytes]) -> tuple[float, int]:
    """The shortest time for each point, which other work on the machine disturbs least, and the size of the result."""
    return 1000 * durations_ms(lambda _: run(), TIMES)[0] / POINTS, len(run())


def bare_us(name: str, url: str, batch: Batch, known: Sequence[Reading]) -> float | str:
    """The same without reading the batch and without compressing."""
    module = import_module(f"shipper.protocols.{name}")
    source = next((each for each in ("readings", "numbers") if hasattr(module, each)), None)
    if source is None:
        return "-"
    with mock.patch.object(module, source, lambda _: iter(known)), mock.patch.object(gzip, "compress", _as_it_is):
        return each_us(lambda: KNOWN[name].encode([batch], url, None).body)[0]


def _as_it_is(data: bytes, **_: object) -> bytes:
    return data


def influxdb_client(known: Sequence[Reading]) -> bytes:
    """The line protocol by influxdb-client."""
    from influxdb_client import Point, WritePrecision

    lines = []
    for each in known:
        point = Point(each.name).tag("metric_type", each.type).time(each.end_ms, WritePrecision.MS)
        for key, value in each.tags.items():
            point = point.tag(key, value)
        for stat, number in each.stats.items():
            point = point.field(stat, float(number))
        lines.append(point.to_line_protocol())
    return "\n".join(lines).encode()


def opentelemetry_proto(known: Sequence[Reading]) -> bytes:
    """An OTLP request by opentelemetry-proto, binary; buckets as the sketch has them, without our conversion."""
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

    request = ExportMetricsServiceRequest()
    scope = request.resource_metrics.add().scope_metrics.add()
    for each in known:
        metric = scope.metrics.add(name=each.name)
        if each.sketch:
            bins = dict(each.sketch["bins"])
            total, low, high = (each.stats[stat] for stat in ("sum", "min", "max"))
            point = metric.exponential_histogram.data_points.add(sum=total, min=low, max=high, scale=5)
            point.count, point.positive.offset = int(each.stats["count"]), min(bins)
            point.positive.bucket_counts.extend(int(bins.get(at, 0)) for at in range(min(bins), max(bins) + 1))
        else:
            points = metric.sum.data_points if each.type == "counter" else metric.gauge.data_points
            point = points.add(as_double=each.stats["value"])
        point.start_time_unix_nano, point.time_unix_nano = each.start_ms * 10**6, each.end_ms * 10**6
        for key, value in each.tags.items():
            point.attributes.add(key=key).value.string_value = value
    return bytes(request.SerializeToString())


def remote_write(known: Sequence[Reading]) -> bytes:
    """A remote write request by the protobuf library, names and labels as they are."""
    from tests.shipper.protocols.remote_write import WriteRequest

    request = WriteRequest()
    for each in known:
        for stat, number in each.stats.items():
            if stat != "mean":
                series = request.timeseries.add()
                for key, value in sorted({**each.tags, "__name__": f"{each.name}_{stat}"}.items()):
                    series.labels.add(name=key, value=value)
                series.samples.add(value=number, timestamp=each.end_ms)
    return bytes(request.SerializeToString())


if __name__ == "__main__":
    main()
