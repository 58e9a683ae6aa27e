"""From files and overrides to a checked, frozen config."""
