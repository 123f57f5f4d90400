"""The loops of `tsad.events.ape`: scores, contributions and surprises of events."""

import numpy as np

from tsad.compiled import compiled

__all__ = ["pair_scores", "surprises"]


# Sums may be reordered, to use vector instructions: the order is then that of the machine code, the same for every
# row, so a row's score still does not know its batch.
@compiled(fastmath={"reassoc", "contract"})
def pair_scores(codes, offsets, vectors, biases, weights, out):
    """Sum of weighted products of the vectors of every pair of attributes, in float64."""
    n, m = codes.shape
    d = vectors.shape[1]
    x = np.empty((m, d), np.float64)
    for r in range(n):
        total = 0.0
        for i in range(m):
            code = codes[r, i]
            if code >= offsets[i + 1] - offsets[i]:
                code = 0
            row = offsets[i] + code
            total += biases[row]
            for k in range(d):
                x[i, k] = vectors[row, k]
        for i in range(m):
            for j in range(i + 1, m):
                w = weights[i, j]
                if w != 0.0:
                    product = 0.0
                    for k in range(d):
                        product += x[i, k] * x[j, k]
                    total += w * product
        out[r] = total


@compiled(fastmath={"reassoc", "contract"})
def surprises(codes, offsets, vectors, biases, weights, log_prior, listed, active, surprise, expected, probability):
    """Negative log-probability of every value given the others, and the likeliest values instead.

    A value's logit is its product with the weighted sum of the other vectors, plus its bias and `log_prior`; -inf
    leaves a value out. `listed` tells which values may be named as expected.
    """
    n, m = codes.shape
    d = vectors.shape[1]
    count = expected.shape[2]
    x = np.empty((m, d), np.float64)
    context = np.empty(d, np.float64)
    widest = 0
    for i in range(m):
        widest = max(widest, offsets[i + 1] - offsets[i])
    logits = np.empty(widest, np.float64)
    best = np.empty(count, np.float64)
    for r in range(n):
        for i in range(m):
            code = codes[r, i]
            row = offsets[i] + (code if code < offsets[i + 1] - offsets[i] else 0)
            for k in range(d):
                x[i, k] = vectors[row, k]
        for i in range(m):
            size = offsets[i + 1] - offsets[i]
            own = codes[r, i] if codes[r, i] < size else 0
            context[:] = 0.0
            for j in range(m):
                w = weights[i, j]
                if w != 0.0:
                    for k in range(d):
                        context[k] += w * x[j, k]
            highest = -np.inf
            for a in range(size):
                row = offsets[i] + a
                logits[a] = -np.inf
                if log_prior[row] > -np.inf:
                    product = 0.0
                    for k in range(d):
                        product += context[k] * vectors[row, k]
                    logits[a] = product + biases[row] + log_prior[row]
                    highest = max(highest, logits[a])
            total = 0.0
            for a in range(size):
                if logits[a] > -np.inf:
                    total += np.exp(logits[a] - highest)
            norm = highest + np.log(total)
            surprise[r, i] = norm - logits[own] if active[i] else 0.0
            for p in range(count):
                best[p] = -np.inf
                expected[r, i, p] = -1
                probability[r, i, p] = np.nan
            for a in range(size):
                if listed[offsets[i] + a] and logits[a] > -np.inf and count and logits[a] > best[count - 1]:
                    p = count - 1
                    while p > 0 and best[p - 1] < logits[a]:
                        best[p] = best[p - 1]
                        expected[r, i, p] = expected[r, i, p - 1]
                        p -= 1
                    best[p] = logits[a]
                    expected[r, i, p] = a
            for p in range(count):
                if expected[r, i, p] >= 0:
                    probability[r, i, p] = np.exp(best[p] - norm)
