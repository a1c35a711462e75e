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
    others = [b[j + 1 :] if same else np.delete(b, j, axis=0) for j in range(len(a))]
    distances = [np.sum((row - rest) ** 2, axis=1) for row, rest in zip(a, others, strict=True)]
    return float(np.log(np.mean(np.exp(-t * np.concatenate(distances)))))


def centroids(v, t):
    c = (v + t) / 2
    return c / np.linalg.norm(c, axis=1, keepdims=True)


def distances(a, b):
    """‖a_i − b_j‖² of all pairs."""
    return np.stack([np.sum((row - b) ** 2, axis=1) for row in a])


def cauchy_schwarz(v, t, sigma):
    """D(p, q) = log mean κ(v, v) + log mean κ(t, t) − 2 log mean κ(v, t), diagonals and all."""
    own_v, own_t, between = (
        np.log(np.mean(np.exp(-distances(a, b) / (2 * sigma**2))))
        for a, b in ((v, v), (t, t), (v, t))
    )
    return float(own_v + own_t - 2 * between)


def median_sigma(v, t):
    """Of an even number of distances, the lower of the two in the middle."""
    ordered = np.sort(distances(v, t).ravel())
    return float(np.sqrt(ordered[(len(ordered) - 1) // 2] / 2))


def sigmoid(v, t, scale, bias, groups=None, relative=False):
    """−(1/B) Σ_ij log σ(z_ij·(s·v_i·t_j + b)); relative: of z_ij·s·(v_i·t_j − b)."""
    total, n = 0.0, len(v)
    for i in range(n):
        for j in range(n):
            if i != j and groups is not None and groups[i] == groups[j]:
                continue
            cosine = v[i] @ t[j]
            logit = scale * (cosine - bias) if relative else scale * cosine + bias
            total += np.logaddexp(0.0, -logit if i == j else logit)
    return total / n


def hybrid_distillation(v, t, taught_v, taught_t, alpha):
    """½ Σ over both directions of the mean over rows of KL(p̂ ‖ p), 0 log 0 = 0; and its gradients
    by v and t: of KL by a row's logits, p − p̂."""
    value, n = 0.0, len(v)
    slopes = np.zeros((n, n))
    for rows in (lambda x: x, lambda x: x.T):
        p, q = (log_softmax(rows(a @ b.T)) for a, b in ((v, t), (taught_v, taught_t)))
        target = alpha * np.eye(n) + (1 - alpha) * np.exp(q)
        some = target > 0
        value += 0.5 * float(np.sum(target[some] * (np.log(target[some]) - p[some]))) / n
        slopes += rows(0.5 * (np.exp(p) - target) / n)
    return value, (slopes @ t, slopes.T @ v)


def log_softmax(logits):
    apart = logits - logits.max(axis=1, keepdims=True)
    return apart - np.log(np.exp(apart).sum(axis=1, keepdims=True))


def random_alignment(v, t, noise):
    """Mean squares over entries, and their gradients by v and t."""
    apart = v - noise, t - noise
    return sum(float(np.mean(x**2)) for x in apart), tuple(2 * x / x.size for x in apart)
