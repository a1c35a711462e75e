"""The losses in float64 NumPy, written from the papers' formulas for the tests only."""

import numpy as np


def cross_entropy(logits: np.ndarray, allowed: np.ndarray, smoothing: float = 0.0) -> float:
    total = 0.0
    for i, row in enumerate(logits):
        values = row[allowed[i]]
        peak = values.max()
        log_probabilities = values - peak - np.log(np.exp(values - peak).sum())
        own = np.flatnonzero(allowed[i]).tolist().index(i)
        target = np.full(len(values), smoothing / len(values))
        target[own] += 1.0 - smoothing
        total -= float(target @ log_probabilities)
    return total / len(logits)


def contrastive(v, t, scale, groups=None, smoothing=0.0):
    n = len(v)
    allowed = np.ones((n, n), bool)
    if groups is not None:
        for i in range(n):
            for j in range(n):
                allowed[i, j] = i == j or groups[i] != groups[j]
    logits = scale * v @ t.T
    return 0.5 * (
        cross_entropy(logits, allowed, smoothing) + cross_entropy(logits.T, allowed.T, smoothing)
    )


def separation(m, other, scale, semantics=None):
    n = len(m)
    logits = np.empty((n, n))
    for i in range(n):
        for j in range(n):
            if i == j:
                logits[i, j] = scale * (m[i] @ other[i])
            else:
                distance = 1.0 if semantics is None else 1.0 - semantics[i] @ semantics[j]
                logits[i, j] = scale * (m[i] @ m[j]) * distance
    return cross_entropy(logits, np.ones((n, n), bool))


def alignment(v, t):
    return float(np.mean([np.sum((a - b) ** 2) for a, b in zip(v, t, strict=True)]))


def potential(a, b, t, same):
    """log mean exp(−t‖a_j − b_k‖²) over j < k (`same`) or j ≠ k."""
    n = len(a)
    pairs = [(j, k) for j in range(n) for k in range(n) if (j < k if same else j != k)]
    return float(np.log(np.mean([np.exp(-t * np.sum((a[j] - b[k]) ** 2)) for j, k in pairs])))


def sigmoid(v, t, scale, bias, groups=None):
    """−(1/B) Σ_ij log σ(z_ij·(s·v_i·t_j + b))."""
    total, n = 0.0, len(v)
    for i in range(n):
        for j in range(n):
            if i != j and groups is not None and groups[i] == groups[j]:
                continue
            logit = scale * (v[i] @ t[j]) + bias
            total += np.logaddexp(0.0, -logit if i == j else logit)
    return total / n
