"""Papers rerun, analyses, benchmarks."""
