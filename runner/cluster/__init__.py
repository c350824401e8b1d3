"""Jobs on a Ray cluster: who runs when and where, and the processes that run them."""
