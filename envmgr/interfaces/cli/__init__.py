"""The command line, made from the manifest of the operations registry."""
