"""What runs inside a worker: it trains packs and keeps checkpoints."""
