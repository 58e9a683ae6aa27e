"""The version, in a module of its own: what stands below the front door reads it without importing the front door."""

__version__ = "0.1.0"
