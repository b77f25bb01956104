"""Carries decisions out: sagas, steps, supervision."""
