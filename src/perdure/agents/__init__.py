"""Durable agents: sessions that outlive the process, each one long-lived orchestration."""
