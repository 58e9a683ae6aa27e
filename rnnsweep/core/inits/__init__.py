"""Initialisations: where training starts; one file per init, the contract in `base`."""
