"""The first suite for a user's own data: looks at them, measures a network, and gives a reason for every choice."""
