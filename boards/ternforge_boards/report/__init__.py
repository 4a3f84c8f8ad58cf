"""Reports of builds: their schema, how they are made, and how they are shown and compared."""
