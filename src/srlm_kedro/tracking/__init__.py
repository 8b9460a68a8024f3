"""What MLflow records of a run."""
