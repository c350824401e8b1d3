"""What Azure ML lets an entry script import."""
