"""What happens inside one process that runs cells. Imports no Ray."""
