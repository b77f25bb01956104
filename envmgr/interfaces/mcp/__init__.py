"""Tools for assistants, over the Model Context Protocol. The SDK costs most of a second to import: only here."""
