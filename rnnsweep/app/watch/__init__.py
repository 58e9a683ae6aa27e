"""`rnnsweep watch`: a sweep on a terminal, live: table, curves, and keys that ask its driver for something."""
