"""User values as payloads: how they are encoded, named by digest, and stored."""
