"""Templates of the hand-off folders."""

import jinja2

__all__ = ["templates"]


def templates(*, lstrip_blocks: bool = False) -> jinja2.Environment:
    """The templates of this package; a name that is not given is an error."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("ternforge_boards"), undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True, trim_blocks=True, lstrip_blocks=lstrip_blocks)
