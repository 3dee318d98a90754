"""What a run will do: the suite opened and planned, its status, its budget, and what the user asked for."""
