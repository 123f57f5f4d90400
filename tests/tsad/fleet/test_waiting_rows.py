import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.tsad.naive import closed_up_to
from tsad.fleet.groups import SiblingGroups
from tsad.fleet.sibling_settings import SiblingSettings
from tsad.fleet.waiting_rows import WaitingRows
from tsad.kernels.siblings import NOWHERE, place
from tsad.observations import RowBatch
from tsad.series import SeriesTable

STEP = 10**9


@given(
    moves=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 6)), min_size=1, max_size=80),
    wait=st.integers(0, 4),
    ahead=st.integers(4, 12),
)
def test_the_loop_is_the_naive_one(moves, wait, ahead):
    steps = {}
    rows = []
    for member, move in moves:
        steps[member] = steps.get(member, -1) + move
        rows.append((member, steps[member]))
    last = np.full(6, NOWHERE, np.int64)
    first, newest, frontier = (np.full(1, NOWHERE, np.int64) for _ in range(3))
    nodes = np.arange(6, dtype=np.int32)
    found = []
    for member, step in rows:
        late = np.empty(1, np.bool_)
        place(
            np.array([member], np.int32), np.array([step], np.int64), np.zeros(6, np.int32), nodes,
            np.array([0, 6]), wait, ahead, last, first, newest, frontier, late,
        )  # fmt: skip
        found.append((bool(late[0]), None if frontier[0] == NOWHERE else int(frontier[0])))

    assert found == closed_up_to(rows, wait, ahead)


def waiting(wait=2):
    table = SeriesTable(("x",))
    for node in range(5):
        table.add(f"n{node}")
    groups = SiblingGroups(SiblingSettings(groups={"all": ("n*",)}).matchers(), table)
    groups.follow()
    return WaitingRows(STEP, wait, 10, groups)


def rows(series, times):
    m = len(series)
    return RowBatch(
        np.array(series, np.int32), np.array(times, np.int64), np.zeros((m, 1), np.float32), np.zeros(m, np.uint8),
        np.zeros(m, np.int32), np.arange(m),
    )  # fmt: skip


def test_every_node_has_its_own_phase_and_may_jitter():
    held = waiting()
    phase = np.array([0, 100, -300, 400, -450]) * 10**6
    jitter = np.random.default_rng(0).integers(-400, 400, (20, 5)) * 10**6
    jitter[0] = 0
    times = 10**18 + STEP * np.arange(20)[:, None] + phase + jitter
    closed, steps, late = held.take(rows(np.tile(np.arange(5), 20), times.reshape(-1)))

    assert late == 0
    assert (np.bincount(steps - steps.min()) == 5).all()
    assert len(closed) == 100
    assert len(held) == 0


def test_a_row_that_comes_twice_is_left_out():
    held = waiting()
    closed, steps, late = held.take(rows([0, 1, 2, 3, 4, 0], [10**18] * 6))

    assert (len(closed), len(held), late) == (0, 5, 1)  # at first nothing is closed
    times = 10**18 + STEP * np.repeat([1, 2, 3], 5)
    closed, steps, late = held.take(rows(np.tile(np.arange(5), 3), times))
    assert (len(closed), steps.tolist(), late) == (20, np.repeat([0, 1, 2, 3], 5).tolist(), 0)
