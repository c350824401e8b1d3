"""Scripts that are mounted into images and run by whatever Python is there: standard library only, each a file of its own."""
