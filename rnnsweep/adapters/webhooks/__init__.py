"""Webhooks: messages about a sweep, sent from the ledger's journal."""
