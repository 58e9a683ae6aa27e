"""The sweep engine: what to train next and what became of it; no torch, no outside library."""
