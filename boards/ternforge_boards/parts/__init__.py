"""One file per vendor's part: data, no logic. Each defines ``PART``."""
