"""From a checked config to a running sweep."""
