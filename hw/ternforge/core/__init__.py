"""The packet-stream core and its units."""
