"""Measure what agents and host use, foresee what runs out, and say so before it does."""
