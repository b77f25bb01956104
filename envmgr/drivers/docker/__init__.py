"""Containers, images, networks and volumes on the Docker Engine API."""

from envmgr.drivers.docker.engine import DockerEngine

__all__ = ["DockerEngine"]
