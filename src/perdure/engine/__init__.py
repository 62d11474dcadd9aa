"""The embedded durable engine: orchestrations, activities, timers, events and children on SQLite."""
