"""What is done now and then so that nothing grows for ever: logs, records, files, the database (docs/adr/0045)."""
