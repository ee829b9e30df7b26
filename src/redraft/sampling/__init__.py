"""Pure functions that draw from a law."""
