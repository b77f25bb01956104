"""Templates: found, read, merged, checked, and resolved to what is spawned."""
