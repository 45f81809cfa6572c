"""What is saved, loaded and shared: one folder that holds all that a learner knows, and nothing that runs."""
