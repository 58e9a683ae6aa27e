"""One package per outside library; each implements ports of the sweep engine."""
