"""devcontainer.json."""
