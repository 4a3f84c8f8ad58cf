"""One file per board: data, no logic. Each defines ``BOARD``."""
