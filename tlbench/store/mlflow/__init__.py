"""MLflow as the place where results are gathered: its schema, the writer, and the readers."""
