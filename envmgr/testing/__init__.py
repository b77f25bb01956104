"""Shipped test parts: the scripted model server, the leak audit."""
