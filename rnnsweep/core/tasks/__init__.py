"""Tasks: what a network is trained on; one file per task, the contract in `base`."""
