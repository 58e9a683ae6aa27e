"""Readers of data sets, one file per format. Nothing is fetched over a network, and no pickle is read."""
