"""A coordinator and its instances in different processes, on different machines: the same calls, over a connection that may break."""
