"""The HTTP API as functions from a Request to a Reply; knows no web server and no engine."""
