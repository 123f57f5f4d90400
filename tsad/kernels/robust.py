"""The loop of `tsad.detectors.robust`."""

import numpy as np

from tsad.compiled import compiled

__all__ = ["score_robust"]


@compiled
def score_robust(
    series, times, values, n_channels, level, scale, weight, unit, season, bins, period, pull, limit, slope, bend,
    score, reason, contributions, expected, lower, upper,
):  # fmt: skip
    for i in range(len(series)):
        s = series[i]
        phase = 0
        if bins > 0:
            phase = int((times[i] % period) * bins // period)
        best = -1.0
        total = 0.0
        for c in range(n_channels[s]):
            if bend > 0.0:
                # The level moves on by its trend even where the value is missing.
                level[s, c] += slope[s, c]
            center = level[s, c]
            if bins > 0:
                center += season[s, phase, c]
            half = unit[s, c] * scale[s, c] / max(weight[s, c], 1e-12)
            expected[i, c] = center
            lower[i, c] = center - half
            upper[i, c] = center + half
            x = values[i, c]
            if np.isnan(x) or weight[s, c] == 0.0:
                continue
            difference = x - center
            ratio = abs(difference) / half
            best = max(best, ratio)
            contributions[i, c] = ratio * ratio
            total += ratio * ratio
            bound = limit * scale[s, c]
            step = pull * min(max(difference, -bound), bound)
            level[s, c] += step
            if bend > 0.0:
                slope[s, c] += bend * step
        if best < 0.0:
            reason[i] = 3
            continue
        score[i] = best
        if total > 0.0:
            for c in range(n_channels[s]):
                contributions[i, c] /= total
