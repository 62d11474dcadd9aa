"""Stores of payloads and records: in a folder, and in a container of Blob Storage."""
