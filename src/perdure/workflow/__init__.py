"""A Workflow as a durable orchestration; knows no host."""
