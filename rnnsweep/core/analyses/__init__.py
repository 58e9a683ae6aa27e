"""Analyses of the papers: numbers only, no drawing.

bifurcation     fixed points of one unit, and their basins
error_surface   one unit's error over (w, b), with its wall
gradient_norms  backpropagated norms against depth
delta_norms     the same over training, with activations
"""
