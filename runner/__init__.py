"""A runner of Azure ML parallel jobs on machines of one's own."""
