"""Seams between what envmgr decides and the systems that carry it out."""
