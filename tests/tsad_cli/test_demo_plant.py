import itertools
import json

import pytest

from streams.configuration import Configuration, load_configuration
from tsad.simulation import FaultKind
from tsad_cli.demo_configuration import SECRET_VARIABLE, new_secret, write_configuration
from tsad_cli.demo_feed import NANOSECONDS
from tsad_cli.demo_plant import FULL, SMALL, PlannedFault, lay_out, simulated_plant

END = 1_800_000_000 * NANOSECONDS + 123


@pytest.fixture(scope="module")
def small():
    return simulated_plant(SMALL, seed=3, end=END)


def test_the_full_plan_shows_every_kind_of_fault_on_pumps_and_on_nodes():
    for assets in (FULL.pumps, FULL.nodes):
        assert {fault.kind for own in assets.values() for fault in own} == set(FaultKind)


@pytest.mark.parametrize("plan", [FULL, SMALL], ids=["full", "small"])
def test_faults_leave_room_for_learning_and_for_each_other(plan):
    for asset, own in {**plan.pumps, **plan.nodes}.items():
        laid = lay_out(asset, own, range(plan.train_rows, plan.rows), 0, seed=1)
        edges = [plan.train_rows * NANOSECONDS, *itertools.chain(*((f.start, f.end) for f in laid))]
        edges.append(plan.rows * NANOSECONDS)
        quiet = [after - before for before, after in zip(edges[::2], edges[1::2], strict=True)]
        assert min(quiet) >= 100 * NANOSECONDS


def test_too_many_faults_for_the_rows_are_refused():
    with pytest.raises(ValueError, match="pump-1: 50 quiet rows"):
        lay_out("pump-1", [PlannedFault(FaultKind.SILENCE, 100)], range(200), 0, seed=1)


def test_records_end_near_the_present_and_never_after_it(small):
    times = [record.time for record in small.records]
    assert times == sorted(times)
    assert small.start <= times[0]
    assert times[-1] < small.end <= END
    assert END - small.end < NANOSECONDS


def test_payloads_carry_the_moved_time(small):
    for record in small.records[:2000]:
        document = json.loads(record.value)
        if record.topic == "plant.line":
            assert document["time"] == (record.time - NANOSECONDS // 2) // 1_000_000  # half a second on the way
        elif "time" in document:
            assert document["time"] == record.time // 1_000_000
        else:
            assert document.get("captured_at", document.get("ended")).endswith("Z")
            assert record.topic in {"plant.genealogy", "inspection.results"}


def test_the_same_seed_gives_the_same_plant_whenever_it_runs(small):
    later = simulated_plant(SMALL, seed=3, end=END + 77_777 * NANOSECONDS)

    def readings(feed):
        return [json.loads(record.value).get("values") for record in feed.records]

    assert readings(later) == readings(small)
    assert [fault.start - small.start for fault in small.planted] == [
        fault.start - later.start for fault in later.planted
    ]


def test_labels_lie_after_the_training_part(small):
    assert all(fault.start > small.training_end for fault in small.planted)
    assert {fault.kind for fault in small.planted if fault.silence} == {"silence"}


def test_a_plant_is_continued_where_it_ended(small):
    later = simulated_plant(SMALL, seed=3, end=small.end + 3_600 * NANOSECONDS, hours=1)
    assert later.start == small.end
    assert later.records[0].time >= small.end
    assert len(later.planted) == len(small.planted)
    whole = small.joined(later)
    assert len(whole.planted) == 2 * len(small.planted)
    assert whole.until(small.end).planted == tuple(small.planted)
    assert whole.until(small.end).scored_days < whole.scored_days


def test_the_written_configuration_is_one_the_daemon_takes(tmp_path, small):
    path = tmp_path / "tsad.yaml"
    write_configuration(
        path,
        small,
        bootstrap="127.0.0.1:9092",
        start="earliest",
        webhook_url="http://127.0.0.1:1/webhooks",
        http_port=8350,
        history="history.duckdb",
    )
    secret = new_secret()
    configuration = load_configuration(path, {SECRET_VARIABLE: secret})
    assert isinstance(configuration, Configuration)
    assert configuration.history.path == tmp_path / "history.duckdb"
    assert configuration.webhooks[0].endpoint().secrets == (secret,)
    assert secret not in path.read_text()
    assert {stream.topic for stream in configuration.streams} <= set(small.topics)
