"""Things that nobody owns any more: found, judged, removed (docs/adr/0042)."""
