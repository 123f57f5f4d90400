"""The loops of `tsad.calibration.monitor`."""

import numpy as np

from tsad.compiled import compiled

__all__ = ["martingale_step", "watch"]

_POWERS = np.array([0.1, 0.3, 0.5, 0.7, 0.9])
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


@compiled
def _uniform(seed, series, number):
    """Evenly spread value in [0, 1) for a block of a series, the same in whatever batch it is asked for."""
    z = np.uint64(seed) + _GOLDEN * (np.uint64(series) * np.uint64(1_000_003) + np.uint64(number) + np.uint64(1))
    z = (z ^ (z >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    z = z ^ (z >> np.uint64(31))
    return np.float64(z >> np.uint64(11)) * 2.0**-53


@compiled
def martingale_step(logs, p):
    """Bet against p being uniform, with every power at once; returns the mean capital."""
    total = 0.0
    for e in range(len(_POWERS)):
        power = _POWERS[e]
        logs[e] = max(logs[e], 0.0) + np.log(power) + (power - 1.0) * np.log(p)
        total += np.exp(logs[e])
    return total / len(_POWERS)


@compiled
def watch(
    series, scores, on, block_rows, limit, patience, seed, filled, peak, maxima, n_maxima, next_place, blocks, logs,
    capital, drifting, quiet_blocks, signals,
):  # fmt: skip
    """Take in rows; where a block is complete, rank its maximum among the earlier ones and bet on the rank."""
    found = 0
    kept = maxima.shape[1]
    for i in range(len(series)):
        s = series[i]
        if np.isnan(scores[i]):
            continue
        if on[i]:
            # An alarm is somebody else's business: the block starts anew behind it.
            filled[s] = 0
            continue
        peak[s] = scores[i] if filled[s] == 0 else max(peak[s], scores[i])
        filled[s] += 1
        if filled[s] < block_rows:
            continue
        filled[s] = 0
        n = n_maxima[s]
        above, equal = 0, 0
        for j in range(n):
            above += maxima[s, j] > peak[s]
            equal += maxima[s, j] == peak[s]
        p = (above + _uniform(seed, s, blocks[s]) * (1 + equal)) / (1 + n)
        blocks[s] += 1
        maxima[s, next_place[s]] = peak[s]
        next_place[s] = (next_place[s] + 1) % kept
        n_maxima[s] = min(n + 1, kept)
        capital[s] = martingale_step(logs[s], max(p, 1e-12))
        quiet_blocks[s] += 1
        if capital[s] >= limit:
            found += 1
            signals[s] += 1
            drifting[s] = True
            quiet_blocks[s] = 0
            logs[s, :] = 0.0
        elif quiet_blocks[s] >= patience:
            drifting[s] = False
    return found
