"""Ray: executor, workers, job submission. The only package that imports ray."""
