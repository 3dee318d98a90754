"""What a suite, a cell and a record are. Pure: no torch, no ray, no mlflow."""
