"""The rows of a report with their intervals and differences: setting by setting, and averaged on the leaderboard."""
