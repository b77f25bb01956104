"""Descriptions in other formats (compose, devcontainer, Procfile, process-compose) as templates of ours."""
