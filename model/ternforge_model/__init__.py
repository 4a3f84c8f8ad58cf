"""The language model: float reference, training, and the integer model that hardware equals."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .export import load_checkpoint

__all__ = ["load_checkpoint"]


def __getattr__(name: str) -> Any:
    # Imported when asked for: it needs torch, which most of this package does without.
    if name == "load_checkpoint":
        from .export import load_checkpoint

        return load_checkpoint
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
