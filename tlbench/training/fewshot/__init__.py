"""Learning to learn, and solving episodes."""
