"""Figures of the analyses of trained sweeps, one file each, from the frames that are saved beside them.

Every frame has the columns trial, replica, objective and the searched keys, and then the analysis's own.
"""
