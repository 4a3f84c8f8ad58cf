"""Records of facts in files of their own: one module each, found by the record's name."""

import importlib
import pkgutil
from types import ModuleType
from typing import Any

import jinja2

__all__ = ["records", "templates"]


def records(package: ModuleType, constant: str) -> dict[str, Any]:
    """What each module of ``package`` defines as ``constant``, by its ``name``, sorted."""
    found = (getattr(importlib.import_module(module.name), constant)
             for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."))
    return {record.name: record for record in sorted(found, key=lambda record: record.name)}


def templates(*, lstrip_blocks: bool = False) -> jinja2.Environment:
    """The templates of this package; a name that is not given is an error."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("ternforge_boards"), undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True, trim_blocks=True, lstrip_blocks=lstrip_blocks)
