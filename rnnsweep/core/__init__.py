"""The torch mathematics: everything about one update of a pack; nothing about scheduling."""
