"""What a sweep's numbers depend on, and whether that has changed between its sessions."""
