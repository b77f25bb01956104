"""The client that assistants execute on each of their hooks; see `client`."""
