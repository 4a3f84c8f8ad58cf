"""Power: coefficients with their sources, activity of a token, and an estimate in ranges."""
