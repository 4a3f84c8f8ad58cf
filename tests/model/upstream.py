"""Upstream's computation in plain NumPy, from a checkpoint's arrays (spec sections 3 to 5).

Independent of ``ternforge_model``: it multiplies dequantised activations ``q / s`` with dequantised
weights ``t / (1/a)``, as upstream's float code does, token by token. Each method is one difference
between the paper and the code, or one trap, so that a test can replace it by the other form.
"""

from typing import Any

import numpy as np


def silu(u):
    return u / (1 + np.exp(-u))


def sigmoid(u):
    return 1 / (1 + np.exp(-u))


class Upstream:
    """``eps`` is that of the config; ``num_heads`` does not enter the arithmetic."""

    inner_eps = 1e-6
    #: Least distance so far of a value from the half at which its 8-bit code changes.
    margin = 1.0

    def __init__(self, config, tensors, dtype: Any = np.float32):
        self.layers, self.eps = config.num_hidden_layers, config.rms_norm_eps
        self.lower_bound = config.use_lower_bound
        self.width, self.dtype = config.mixer_width, dtype
        self.w = {name: np.asarray(value, dtype) for name, value in tensors.items()}
        self.dequantised = {name.removesuffix(".weight"): self.weights(value)
                            for name, value in self.w.items()
                            if name.endswith(("_proj.weight", "lm_head.weight"))}

    # Section 3

    def rms(self, x, weight, eps):
        r = 1 / np.sqrt((x * x).sum(-1, keepdims=True) / x.shape[-1] + self.dtype(eps))
        return x * r * weight

    def activations(self, y):
        s = self.dtype(127) / np.maximum(np.abs(y).max(-1, keepdims=True), self.dtype(1e-5))
        size = np.abs(y * s).astype(np.float64)
        self.margin = min(self.margin, float(np.abs(size % 1 - 0.5).min()))
        q = np.sign(y) * np.floor(size + 0.5)
        return np.clip(q, -128, 127).astype(self.dtype) / s

    def weights(self, weight):
        a = self.dtype(max(np.abs(weight).mean(dtype=np.float64), 1e-5))
        inverse = self.dtype(1) / a
        return np.clip(np.round(weight * inverse), -1, 1) / inverse

    def inner_norm(self, x, name):
        return self.rms(x, self.w[f"{name}.norm.weight"], self.inner_eps)

    def bitlinear(self, x, name):
        return self.activations(self.inner_norm(x, name)) @ self.dequantised[name].T

    # Section 4

    def bounds(self):
        raw = self.w["model.lower_bounds"]
        e = np.exp(raw - raw.max(0))
        share = e / e.sum(0)
        return np.cumsum(share, 0) - share[0]

    def forget(self, f, layer):
        if not self.lower_bound or layer == 0:
            return f
        b = self.bounds()[layer]
        return b + (1 - b) * f

    def candidate(self, i, f, bounded):
        return silu(i) * (1 - bounded)

    def output(self, g, h, weight):
        return self.rms(g, weight, self.eps) * silu(h)

    def outer_norm(self, x, weight):
        return self.rms(x, weight, self.eps)

    def halves(self, both):
        return np.split(both, 2, -1)

    def embed(self, token):
        return self.w["model.embeddings.weight"][token]

    def head(self, x):
        return self.bitlinear(x, "lm_head")

    def step(self, tokens, state):
        """Logits ``[B, V]`` and state ``[L, B, e]`` after one more token of each sequence."""
        x, state = self.embed(tokens), state.copy()
        for n in range(self.layers):
            at = f"model.layers.{n}"
            a = self.outer_norm(x, self.w[f"{at}.attn_norm.weight"])
            f = sigmoid(self.bitlinear(a, f"{at}.attn.f_proj"))
            bounded = self.forget(f, n)
            c = self.candidate(self.bitlinear(a, f"{at}.attn.i_proj"), f, bounded)
            state[n] = bounded * state[n] + c
            o = self.output(self.bitlinear(a, f"{at}.attn.g_proj"), state[n],
                            self.w[f"{at}.attn.g_norm.weight"])
            x = x + self.bitlinear(o, f"{at}.attn.o_proj")
            b = self.outer_norm(x, self.w[f"{at}.mlp_norm.weight"])
            u, v = self.halves(self.bitlinear(b, f"{at}.mlp.gate_proj"))
            x = x + self.bitlinear(silu(u) * v, f"{at}.mlp.down_proj")
        return self.head(self.outer_norm(x, self.w["model.norm.weight"])), state

    def run(self, ids):
        """Logits ``[B, T, V]`` of ``ids`` ``[B, T]``, and the final state."""
        state = np.zeros((self.layers, len(ids), self.width), self.dtype)
        logits = []
        for tokens in np.asarray(ids).T:
            row, state = self.step(tokens, state)
            logits.append(row)
        return np.stack(logits, 1), state
