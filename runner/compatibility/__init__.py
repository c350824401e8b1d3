"""What is the same as on Azure ML and what differs: one table, from which the page of the documentation and `--compat` come."""
