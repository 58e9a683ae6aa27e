"""Schedulers with a model, which scipy fits."""
