"""See what agents write."""
