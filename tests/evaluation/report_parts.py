"""A small backtest whose names are as hostile as a user's file names can be."""

from dataclasses import replace

from evaluation.backtest.plan import Plan
from evaluation.backtest.run import backtest
from tests.evaluation.backtest_parts import recording
from tsad.settings import AlarmSettings

HOSTILE = "<script>alert(1)</script>"
HOSTILE_CHANNEL = "<img src=x onerror=alert(1)>"
PLAN = Plan([("robust",), ("sub-pca",)], alarm=AlarmSettings(false_alarms_per_day=50))


def series(count=6):
    """Five good recordings and one that is too short, all of one data set; the first has a hostile name."""
    names = [HOSTILE, *(f"pump {number} & 'co'" for number in range(count - 2))]
    good = [recording(name=name, dataset="plant <b>A</b>", seed=number) for number, name in enumerate(names)]
    good[0] = replace(good[0], channels=(HOSTILE_CHANNEL, "b"))
    return [*good, recording(name="short", dataset="plant <b>A</b>", train=40)]


def run(folder, **settings):
    """A backtest of `series` into a folder."""
    return backtest(series(), PLAN, out=folder, command=["tsad", "backtest", "--series", HOSTILE], **settings)
