"""One outside system each, no policy."""
