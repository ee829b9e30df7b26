"""The use cases. The command line holds no logic: it calls these."""
