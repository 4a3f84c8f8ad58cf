"""Float reference and integer model side by side over a text. Needs torch."""

from collections import Counter
from collections.abc import Mapping
from math import exp
from typing import Any

import numpy as np
import torch

from .evaluate import log_softmax
from .integer import SITES, IntegerModel, State
from .program import Program
from .reference import ReferenceModel

__all__ = ["Comparison", "by_layer"]


class Comparison:
    """Runs both models over a text, in a ``with`` block; each carries its own state.

    Parameters
    ----------
    reference : ReferenceModel
        Float32, in eval mode.
    integer : IntegerModel
        Of the program converted from the same checkpoint.
    """

    def __init__(self, reference: ReferenceModel, integer: IntegerModel):
        self.reference = reference
        self.integer = integer
        self.tokens = 0
        #: Clips by (op name, site); what is not here never happened.
        self.saturated: Counter[tuple[str, str]] = Counter()
        self._float_state: Any = None
        self._integer_state: State | None = None
        self._nats = np.zeros(2)
        self._divergence = 0.0
        self._agree = 0

    def __enter__(self) -> "Comparison":
        # Matrices this small gain nothing from threads, which spin while they wait for each other.
        self._threads = torch.get_num_threads()
        if self.reference.config.hidden_size < 512:
            torch.set_num_threads(1)
        return self

    def __exit__(self, *_: object) -> None:
        torch.set_num_threads(self._threads)

    def advance(self, ids: np.ndarray, targets: np.ndarray) -> None:
        """Predict ``targets`` from ``ids``, int64 ``[T]`` each, continuing from the last call."""
        logits, self._float_state = self.reference.logits(ids, self._float_state)
        result = self.integer.forward(ids, self._integer_state)
        self._integer_state = result.state
        exact = log_softmax(logits.astype(np.float64))
        rounded = log_softmax(result.logits(self.integer.logit_scale))
        places = np.arange(len(targets)), targets
        self._nats -= [exact[places].sum(), rounded[places].sum()]
        self._divergence += float((np.exp(exact) * (exact - rounded)).sum())
        self._agree += int((exact.argmax(-1) == result.tokens).sum())
        self.tokens += len(ids)
        self.saturated.update(result.saturated_ops)

    @property
    def losses(self) -> tuple[float, float]:
        """Float and integer loss, nats per token."""
        exact, rounded = (self._nats / self.tokens).tolist()
        return exact, rounded

    def figures(self) -> dict[str, Any]:
        """Everything that was measured, by the keys of ``ternforge eval --json``."""
        exact, rounded = self.losses
        return {
            "float_loss": exact,
            "integer_loss": rounded,
            "float_perplexity": exp(exact),
            "integer_perplexity": exp(rounded),
            "argmax_agreement": self._agree / self.tokens,
            "kl_divergence": self._divergence / self.tokens,  # float || integer, nats per token
            "saturations": {site: sum(n for (_, at), n in self.saturated.items() if at == site)
                            for site in SITES},
            "saturations_by_layer": by_layer(self.integer.program, self.saturated),
        }


def by_layer(
    program: Program, saturated: Mapping[tuple[str, str], int]
) -> dict[str, dict[str, int]]:
    """Clips by layer (``head`` outside of them) and site; what never happened is left out."""
    layers = {op.name: "head" if op.layer is None else str(op.layer) for op in program.ops}
    found: dict[str, dict[str, int]] = {}
    for (op, site), count in saturated.items():
        row = found.setdefault(layers[op], {})
        row[site] = row.get(site, 0) + count
    return found
