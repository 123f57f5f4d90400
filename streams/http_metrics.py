"""What Prometheus scrapes."""

from collections.abc import Callable, Iterator
from typing import Any, get_args

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from streams.http_alarms import newest_kpis
from streams.http_webhooks import delivery_metrics
from streams.service import Service
from tsad.lifecycle import ConditionState

__all__ = ["ServiceCollector"]

_KPIS_EVERY = 60.0


class ServiceCollector(Collector):
    """Reads the service's figures at the moment of a scrape.

    Parameters
    ----------
    service
        Whose figures.
    monotonic
        Seconds that only rise: what is costly to find out is found out anew every minute only.
    """

    def __init__(self, service: Service, monotonic: Callable[[], float]) -> None:
        self._service = service
        self._monotonic = monotonic
        self._kpis: dict[str, Any] = {}
        self._kpis_at: float | None = None

    def collect(self) -> Iterator[Any]:
        """Read everything."""
        statistics = self._service.pipeline.statistics
        records = CounterMetricFamily("tsad_records", "Records committed", labels=["stream"])
        rows = CounterMetricFamily("tsad_rows", "Rows of the time grid committed", labels=["stream"])
        events = CounterMetricFamily(
            "tsad_observations", "What became of observations and records, by reason", labels=["stream", "outcome"]
        )
        alarms = CounterMetricFamily("tsad_alarm_transitions", "Alarm transitions", labels=["stream", "kind"])
        dead = CounterMetricFamily("tsad_dead_letters", "Records set aside", labels=["stream", "reason"])
        for (stream, name), count in sorted(statistics.counts.copy().items()):
            if name == "records":
                records.add_metric([stream], count)
            elif name == "rows":
                rows.add_metric([stream], count)
            elif name.startswith("dead_letter_"):
                dead.add_metric([stream, name.removeprefix("dead_letter_")], count)
            elif "." in name:
                alarms.add_metric([stream, name], count)
            else:
                events.add_metric([stream, name], count)
        yield from (records, rows, events, alarms, dead)
        fitted = GaugeMetricFamily("tsad_series_fitted", "Series that were learnt", labels=["stream"])
        for stream, count in statistics.fitted.copy().items():
            fitted.add_metric([stream], count)
        yield fitted
        drifting = GaugeMetricFamily(
            "tsad_series_drifting",
            "Series that score higher in quiet time than when they were learnt",
            labels=["stream"],
        )
        for stream, count in statistics.drifting.copy().items():
            drifting.add_metric([stream], count)
        yield drifting
        standing = GaugeMetricFamily("tsad_alarms", "Alarms by how they stand with operators", labels=["state"])
        states = [condition.state for condition in self._service.pipeline.annunciator.conditions()]
        for state in get_args(ConditionState):
            standing.add_metric([state], states.count(state))
        yield standing
        yield CounterMetricFamily(
            "tsad_alarm_transitions_not_announced",
            "Transitions of alarms that are shelved or out of service",
            value=statistics.quiet_transitions,
        )
        yield CounterMetricFamily("tsad_commits", "Transactions committed", value=statistics.commits)
        health = self._service.source.health
        yield GaugeMetricFamily("tsad_source_connected", "Whether the source can be read", value=health.connected)
        if health.lag is not None:
            yield GaugeMetricFamily("tsad_source_lag_records", "Records waiting in the source", value=health.lag)
        yield from delivery_metrics(self._service)
        yield from self._alarm_kpis()
        yield GaugeMetricFamily(
            "tsad_history_bytes", "Bytes that hold data in the history file", value=self._service.history.used_bytes()
        )
        yield GaugeMetricFamily(
            "tsad_history_bytes_most", "history.max_bytes: above this the oldest rows go",
            value=self._service.configuration.history.max_bytes,
        )  # fmt: skip
        yield GaugeMetricFamily("tsad_ready", "Whether the service is ready", value=not self._service.problems())

    def _alarm_kpis(self) -> Iterator[Any]:
        now = self._monotonic()
        if self._kpis_at is None or now - self._kpis_at >= _KPIS_EVERY:
            _, _, self._kpis = newest_kpis(self._service.history, 1.0)
            self._kpis_at = now
        family = GaugeMetricFamily(
            "tsad_alarm_kpi", "How operators were troubled in the newest day of event time", labels=["figure"]
        )
        for name, value in self._kpis.items():
            family.add_metric([name], value)
        yield family
