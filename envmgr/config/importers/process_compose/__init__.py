"""process-compose.yaml."""
