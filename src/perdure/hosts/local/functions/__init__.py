"""Hand-written Durable Functions on the embedded engine: what stands in an app beside its workflows."""
