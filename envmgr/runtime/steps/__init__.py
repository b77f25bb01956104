"""One step a spawn is made of, each with its undo."""
