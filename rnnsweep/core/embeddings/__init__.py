"""Embeddings: what a symbol becomes before the family sees it, one file each."""
