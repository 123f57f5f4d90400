"""The loops of `tsad.calibration.episodes` and `tsad.calibration.persistence`."""

import math

import numpy as np

from tsad.compiled import compiled

__all__ = [
    "BAD",
    "CLEAR",
    "ESCALATE",
    "FALSE_ALARM",
    "LEAST_RATE",
    "NOTHING",
    "RAISE",
    "calibrate",
    "credit",
    "episode_rate",
    "persist",
    "static_threshold",
]

NOTHING, RAISE, ESCALATE, CLEAR = 0, 1, 2, 3
LEAST_RATE = 1e-290
BAD, FALSE_ALARM = 1, 2
"""What an operator said of a cluster; 0 where nobody said anything."""


@compiled
def episode_rate(s, u, clusters, excess, exposure, prior):
    """Λ(s): clusters a row whose peak reaches `s`, as the posterior predictive of an exponential excess.

    `prior` clusters of mean excess 1 are known beforehand: they tell of the excess, not of how often there is one.
    """
    zeta = (clusters + 1.0) / exposure
    if s <= u:
        return zeta
    k = max(clusters + prior, 1.0)
    # The floor keeps what follows finite: a broken sensor can lie further out than a double can say.
    return max(zeta * (1.0 + (s - u) / ((k + 1.0) * ((excess + prior) / k))) ** (-k), LEAST_RATE)


@compiled
def static_threshold(rate, u, clusters, excess, exposure, prior):
    """θ(λ): the score whose episode rate is `rate`."""
    zeta = (clusters + 1.0) / exposure
    if rate >= zeta:
        return u
    k = max(clusters + prior, 1.0)
    return u + (k + 1.0) * ((excess + prior) / k) * ((zeta / rate) ** (1.0 / k) - 1.0)


@compiled
def credit(y, cap, said):
    """What a cluster adds to S and to K: its excess in full and one, or capped and none, or nothing at all.

    An alarmed cluster (its `cap` is a number) is right-censored, so that an event does not raise its own threshold. One
    that an operator calls bad tells nothing of quiet time; one that was a false alarm is a quiet cluster like others.
    """
    if said == BAD:
        return 0.0, 0.0
    if np.isnan(cap) or said == FALSE_ALARM:
        return y, 1.0
    return min(y, cap), 0.0


@compiled
def _close(
    s, logs, u, clusters, excess, is_open, peak, cap, now, open_said, open_began, open_ended, decay, log_began,
    log_ended, log_excess, log_cap, log_said, log_decay, log_now, log_next,
):  # fmt: skip
    """End the open cluster: it is counted, and kept for a while, so that what was said of it later can be heeded."""
    y = peak[s] - u[s]
    sums, count = credit(y, cap[s], open_said[s])
    excess[s] += sums
    clusters[s] += count
    if logs:
        kind = 0 if np.isnan(cap[s]) else 1
        at = log_next[s, kind] % log_began.shape[2]
        log_next[s, kind] += 1
        log_began[s, kind, at], log_ended[s, kind, at] = open_began[s], open_ended[s]
        log_excess[s, kind, at], log_cap[s, kind, at] = y, cap[s]
        log_said[s, kind, at], log_decay[s, kind, at], log_now[s, kind, at] = open_said[s], decay[s], now[s]
    is_open[s] = False
    cap[s] = np.nan
    open_said[s] = 0


@compiled
def calibrate(
    series, scores, breaks, times, frozen, gap, prior, off_share, governor_step, governor_limit, budget, forget, u,
    clusters, excess, exposure, governor, is_open, peak, cap, last_above, on, last_off, now, level, alarm_peak, ranks,
    n_ranks, tail_share, tail_mean, tail_shape, n_prefix, open_said, open_began, open_ended, decay, log_began,
    log_ended, log_excess, log_cap, log_said, log_decay, log_now, log_next, p_values, rates, thresholds, is_on, events,
):  # fmt: skip
    """Judge rows in order, and learn from quiet ones; `times` and `frozen` may be empty.

    Without times clusters are not kept. From `frozen` rows nothing is learnt: they raise and clear alarms alone.
    """
    logs = len(times) > 0
    for i in range(len(series)):
        s = series[i]
        x = scores[i]
        events[i] = NOTHING
        is_on[i] = on[s]
        p_values[i] = np.nan
        rates[i] = np.nan
        thresholds[i] = np.nan
        if n_prefix[s] == 0:
            continue
        if breaks[i] and is_open[s] and not on[s]:
            # A gap in time: the cluster ends as it stands.
            _close(
                s, logs, u, clusters, excess, is_open, peak, cap, now, open_said, open_began, open_ended, decay,
                log_began, log_ended, log_excess, log_cap, log_said, log_decay, log_now, log_next,
            )  # fmt: skip
        if np.isnan(x):
            continue
        now[s] += 1
        learns = not (len(frozen) > 0 and frozen[i])
        lam = budget[s]
        static = static_threshold(lam, u[s], clusters[s], excess[s], exposure[s], prior)
        theta = u[s] + (static - u[s]) * math.exp(governor[s])
        rate = episode_rate(x, u[s], clusters[s], excess[s], exposure[s], prior)
        thresholds[i] = theta
        rates[i] = rate
        # p-value: rank within the prefix up to u, power tail above it.
        if x <= u[s]:
            low = 0
            high = n_ranks[s]
            while low < high:
                middle = (low + high) // 2
                if ranks[s, middle] < x:
                    low = middle + 1
                else:
                    high = middle
            at_least = n_prefix[s] * ((n_ranks[s] - low) / n_ranks[s])
            p_values[i] = (1.0 + at_least) / (n_prefix[s] + 1.0)
        else:
            k = tail_shape[s]
            p_values[i] = max(tail_share[s] * (1.0 + (x - u[s]) / ((k + 1.0) * tail_mean[s])) ** (-k), LEAST_RATE)
        if not on[s] and x > theta:
            on[s] = True
            events[i] = RAISE
            if learns:
                governor[s] = min(governor[s] + governor_step, governor_limit)
                if np.isnan(cap[s]):
                    cap[s] = theta - u[s]
            last_off[s] = now[s]
            alarm_peak[s] = x
            level[s] = severity_level(lam, rate)
        if x > u[s] and learns:
            if not is_open[s]:
                is_open[s] = True
                peak[s] = x
                open_began[s] = times[i] if logs else 0
                # An alarm that was raised while nothing was learnt is one all the same.
                if on[s] and np.isnan(cap[s]):
                    cap[s] = theta - u[s]
            else:
                peak[s] = max(peak[s], x)
            last_above[s] = now[s]
            open_ended[s] = times[i] if logs else 0
        if on[s]:
            if x > alarm_peak[s]:
                alarm_peak[s] = x
                reached = severity_level(lam, rate)
                if reached > level[s]:
                    level[s] = reached
                    if events[i] == NOTHING:
                        events[i] = ESCALATE
            if x > u[s] + off_share * (theta - u[s]):
                last_off[s] = now[s]
            if now[s] - last_off[s] > gap:
                on[s] = False
                events[i] = CLEAR
        if is_open[s] and not on[s] and now[s] - last_above[s] > gap:
            _close(
                s, logs, u, clusters, excess, is_open, peak, cap, now, open_said, open_began, open_ended, decay,
                log_began, log_ended, log_excess, log_cap, log_said, log_decay, log_now, log_next,
            )  # fmt: skip
        if not on[s] and learns:
            rho = forget[s]
            exposure[s] = rho * exposure[s] + 1.0
            if rho * clusters[s] >= 1.0:
                clusters[s] *= rho
                excess[s] *= rho
                decay[s] += math.log(rho)
            governor[s] = max(0.0, governor[s] - governor_step * lam)
        is_on[i] = on[s]


@compiled
def severity_level(budget, rate):
    """0 to 3: by how many powers of ten an episode is rarer than the accepted rate."""
    return min(3, max(0, math.floor(math.log10(budget / rate) + 1e-12)))


@compiled
def persist(series, scores, breaks, needed, ring, filled, position, out):
    """k-th largest of the last n scores of every series; NaN until k scores have been seen since a break."""
    n = ring.shape[1]
    window = np.empty(n, dtype=np.float64)
    for i in range(len(series)):
        s = series[i]
        out[i] = np.nan
        if breaks[i]:
            filled[s] = 0
        if np.isnan(scores[i]):
            continue
        ring[s, position[s]] = scores[i]
        position[s] = (position[s] + 1) % n
        filled[s] = min(filled[s] + 1, n)
        if filled[s] < needed:
            continue
        for j in range(filled[s]):
            window[j] = ring[s, (position[s] - 1 - j) % n]
        out[i] = np.sort(window[: filled[s]])[filled[s] - needed]
