"""Schedulers: which trials go on beyond a rung, which wait, and which take over what another one has learnt."""
