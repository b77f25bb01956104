"""What is kept of an agent's session when it ends: logs, screens, events, work, and how it was made."""
