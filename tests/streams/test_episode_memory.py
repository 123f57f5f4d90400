"""Past episodes: which a new one is like, with their labels, and whose label would help most."""

import json

from connectors.history.database import History
from streams.pipeline import Pipeline
from tests.streams.plant import messages, stream
from tests.streams.test_pipeline import configuration, records
from tsad.lifecycle import Action


def again_and_again(rows=900):
    """The same fault of pump-0 three times, and another one once."""
    values = [json.loads(one) for one in messages(rows=rows, assets=1)]
    for first in (450, 600, 750):
        for row in range(first, first + 20):
            values[row]["values"]["flow"] += 30
    for row in range(520, 540):
        values[row]["values"]["pressure"] -= 30
    return [json.dumps(one).encode() for one in values]


def plant(path):
    settings = configuration(path, streams=[stream(detectors=["robust"], alarm={"false_alarms_per_day": 200})])
    history = History(path)
    return history, Pipeline(settings, history, endpoints=[w.endpoint() for w in settings.webhooks])


def bodies(history, kind):
    rows = history.cursor().execute("SELECT body FROM outbox ORDER BY rowid").fetchall()
    return [one["data"] for one in map(json.loads, (row[0] for row in rows)) if one["type"] == kind]


def test_an_alarm_says_which_past_episode_it_is_like_and_what_that_was_called(tmp_path):
    values = again_and_again()
    history, worker = plant(tmp_path / "h.duckdb")
    worker.handle([records(values, 0, 740)])
    worker.commit(snapshot=True)
    flow = [one for one in bodies(history, "alarm.raised") if one["contributions"][0]["channel"] == "flow"]
    known = flow[-1]
    worker.annunciator.act(
        known["alarm_id"],
        Action("label", "ann", "planned restart", label="known", episode_id=known["episode_id"]),
    )
    history.close()
    history, worker = plant(tmp_path / "h.duckdb")  # and it is known after a restart
    worker.handle([records(values, worker.positions["plant", 0])])
    worker.commit(snapshot=True)
    newest = bodies(history, "alarm.raised")[-1]

    assert newest["similar_episodes"]
    assert (known["episode_id"], "known") in {(o["episode_id"], o["label"]) for o in newest["similar_episodes"]}
    assert all(one["similarity"] >= 0.8 for one in newest["similar_episodes"])
    assert "which was called a known event (planned restart)" in newest["summary"]
    history.close()


def test_the_label_that_stands_for_most_is_asked_for_first_and_then_no_more(tmp_path):
    history, worker = plant(tmp_path / "h.duckdb")
    worker.handle([records(again_and_again())])
    worker.commit(snapshot=True)
    memory = worker.annunciator.memory
    wanted = memory.wanted(2)

    assert [one.stands_for for one in wanted] == [4, 1]
    assert wanted[0].why == "stands for 4 episodes that are alike and have no label"
    worker.annunciator.act(
        wanted[0].alarm_id, Action("label", "ann", "", label="false", episode_id=wanted[0].episode_id)
    )
    assert [one.episode_id for one in memory.wanted(10)] == [wanted[1].episode_id]
    history.close()
