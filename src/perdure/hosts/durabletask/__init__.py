"""An app as workers on Durable Task Scheduler, and its HTTP API in front of it."""
