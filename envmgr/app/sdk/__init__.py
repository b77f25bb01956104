"""Clients in other hands' languages, written from the registry."""
