"""What a sweep left behind, read from its stores."""
