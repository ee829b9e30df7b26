"""The ground: types, randomness, configuration, pictures, errors. Imports nothing else of the house."""
