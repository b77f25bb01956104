"""One agent CLI each."""
