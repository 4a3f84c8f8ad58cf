"""Link to a host: bytes on pins, frames, core commands."""
