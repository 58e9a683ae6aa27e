"""Compiled passes for what an update does besides its loops, on tensors in main memory."""
