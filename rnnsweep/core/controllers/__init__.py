"""Controllers act on gradients: one file each."""
