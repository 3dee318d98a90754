"""The suite language: what a suite file says, how it is read and checked, and the plan of its cells."""
