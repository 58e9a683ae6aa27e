"""Command line, configuration, and the composition root that knows everything."""
