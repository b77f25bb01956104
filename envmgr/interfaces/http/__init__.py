"""HTTP over the daemon's Unix socket, made from the operations registry."""
