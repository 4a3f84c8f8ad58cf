"""Records of facts in files of their own: one module each, found by the record's name."""

import importlib
import pkgutil
from types import ModuleType
from typing import Any

__all__ = ["records"]


def records(package: ModuleType, constant: str) -> dict[str, Any]:
    """What each module of ``package`` defines as ``constant``, by its ``name``, sorted."""
    found = (getattr(importlib.import_module(module.name), constant)
             for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."))
    return {record.name: record for record in sorted(found, key=lambda record: record.name)}
