"""One code's files each: its names and shapes of our parameters, and what its config says."""
