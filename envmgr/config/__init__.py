"""Settings and templates."""
