"""A scripted stand-in for the model providers, so that real agent CLIs run without account and network.

Speaks Anthropic Messages, OpenAI chat completions, OpenAI responses and Gemini, with streaming and tool calls. Start it
with `python -m envmgr.testing.model_server`; it needs the `test` extra.
"""
