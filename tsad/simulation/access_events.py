"""Access events: who started what, where, from which network zone.

People have habits: each user works on two or three hosts, runs the processes of a role, comes from one zone, and
mostly works by day. Odd events break exactly one habit and are labelled with it.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tsad.errors import ConfigurationError
from tsad.simulation.recording import AccessRecording, read_only
from tsad.simulation.signals import NANOSECONDS_PER_DAY, NANOSECONDS_PER_SECOND, generator

__all__ = ["AccessSettings", "simulate_access_events"]

_MILLISECOND = 1_000_000
_HOSTS = ("historian-1", "scada-1", "scada-2", "engineering-1", "login-1", "login-2", "files-1", "backup-1")
_ZONES = ("control-room", "office", "compute", "maintenance", "internet")
_ACTIONS = ("login", "start", "read", "write", "stop")
_ACTION_SHARES = (0.2, 0.25, 0.3, 0.15, 0.1)
_ROLES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("control-room", ("hmi", "trend-viewer", "alarm-list")),
    ("office", ("report-builder", "spreadsheet", "trend-viewer")),
    ("compute", ("python", "slurm-submit", "ssh")),
    ("maintenance", ("plc-editor", "calibration-tool", "ssh")),
)
_FOREIGN_PROCESSES = ("powershell", "netcat", "archiver", "keydump")
_UNSEEN_USERS = ("svc-temp", "guest-7", "contractor-x", "adminn")
_REASONS = ("unseen_user", "foreign_host", "foreign_process", "foreign_zone")


@dataclass(frozen=True)
class AccessSettings:
    """How many events there are, of how many users, and how many are odd.

    Attributes
    ----------
    events_per_hour : float
        Mean rate at the busiest hour of the day.
    users : int
        Number of users with habits.
    odd_share : float
        Chance of an event being odd, after the training stretch.

    Raises
    ------
    ConfigurationError
        When a value is out of its range.
    """

    events_per_hour: float = 1_200.0
    users: int = 24
    odd_share: float = 0.01

    def __post_init__(self) -> None:
        if not self.events_per_hour > 0.0:
            raise ConfigurationError(f"access.events_per_hour {self.events_per_hour} must be above 0")
        if self.users < 1:
            raise ConfigurationError(f"access.users {self.users} must be at least 1")
        if not 0.0 <= self.odd_share <= 1.0:
            raise ConfigurationError(f"access.odd_share {self.odd_share} must be in [0, 1]")


def simulate_access_events(
    settings: AccessSettings, seed: int, start: int, duration_seconds: float, training_end: int
) -> AccessRecording:
    """Simulate the access events of the plant.

    Parameters
    ----------
    settings : AccessSettings
        How many, and how odd.
    seed : int
        The plant's seed.
    start : int
        Event time from which events come, nanoseconds UTC, whole milliseconds.
    duration_seconds : float
        Length of the stretch, seconds.
    training_end : int
        Events before this time are never odd, nanoseconds UTC.

    Returns
    -------
    AccessRecording
        Events in time order.
    """
    times = _event_times(settings, seed, start, duration_seconds)
    events = times.size

    def uniform(name: str) -> NDArray[np.float64]:
        return generator(seed, "access", name).random(events)

    def pick(name: str, choices: tuple[str, ...]) -> NDArray[np.str_]:
        return np.asarray(choices)[(uniform(name) * len(choices)).astype(np.int64)]

    # Habits: a role, three hosts (the third one seldom), and how busy each user is.
    habit = generator(seed, "access", "habits")
    role = habit.integers(len(_ROLES), size=settings.users)
    hosts = np.stack([habit.permutation(len(_HOSTS)) for _ in range(settings.users)])
    busy = np.cumsum(habit.dirichlet(np.full(settings.users, 2.0)))
    who = np.minimum(np.searchsorted(busy, uniform("user"), side="right"), settings.users - 1)
    visit = np.searchsorted([0.6, 0.9], uniform("host"), side="right")
    tool = np.searchsorted([0.5, 0.85], uniform("process"), side="right")

    names = np.asarray([f"user-{number:02d}" for number in range(1, settings.users + 1)])
    zones = np.asarray([zone for zone, _ in _ROLES])
    tools = np.asarray([processes for _, processes in _ROLES])
    user = names[who]
    host = np.asarray(_HOSTS)[hosts[who, visit]]
    process = tools[role[who], tool]
    zone = zones[role[who]]
    action_edges = np.cumsum(_ACTION_SHARES)[:-1]
    action = np.asarray(_ACTIONS)[np.searchsorted(action_edges, uniform("action"), side="right")]

    odd = (uniform("odd") < settings.odd_share) & (times >= training_end)
    broken = (uniform("reason") * len(_REASONS)).astype(np.int64)
    # A foreign host is one of the five that the user never visits; a foreign zone is any but the user's own.
    foreign_host = np.asarray(_HOSTS)[hosts[who, 3 + (uniform("foreign host") * (len(_HOSTS) - 3)).astype(np.int64)]]
    hop = 1 + (uniform("foreign zone") * (len(_ZONES) - 1)).astype(np.int64)
    foreign_zone = np.asarray(_ZONES)[(role[who] + hop) % len(_ZONES)]
    user = np.where(odd & (broken == 0), pick("unseen user", _UNSEEN_USERS), user)
    host = np.where(odd & (broken == 1), foreign_host, host)
    process = np.where(odd & (broken == 2), pick("foreign process", _FOREIGN_PROCESSES), process)
    zone = np.where(odd & (broken == 3), foreign_zone, zone)
    reason = np.where(odd, np.asarray(_REASONS)[broken], "")
    return AccessRecording(
        times=read_only(times),
        user=read_only(user),
        host=read_only(host),
        process=read_only(process),
        action=read_only(action),
        source_zone=read_only(zone),
        odd=read_only(odd),
        reason=read_only(reason),
    )


def _event_times(settings: AccessSettings, seed: int, start: int, duration_seconds: float) -> NDArray[np.int64]:
    """Draw a Poisson process whose rate follows the working day, by thinning one of constant rate."""
    mean_gap = 3_600.0 / settings.events_per_hour
    random = generator(seed, "access", "gaps")
    gaps: list[NDArray[np.float64]] = []
    reached = 0.0
    while reached < duration_seconds:
        # One draw nearly always suffices; the spare five deviations make it so.
        expected = (duration_seconds - reached) / mean_gap
        gaps.append(random.exponential(mean_gap, int(expected + 5.0 * math.sqrt(expected) + 5.0)))
        reached += float(gaps[-1].sum())
    offsets = np.cumsum(np.concatenate(gaps))
    offsets = offsets[offsets < duration_seconds]
    # Whole milliseconds, so that times survive a message.
    times = start + (offsets * NANOSECONDS_PER_SECOND).astype(np.int64) // _MILLISECOND * _MILLISECOND
    hour = (times % NANOSECONDS_PER_DAY) / NANOSECONDS_PER_DAY * 24.0
    keep = 0.25 + 0.75 * np.exp(-(((hour - 13.0) / 5.0) ** 2))
    return times[generator(seed, "access", "thinning").random(times.size) < keep]
