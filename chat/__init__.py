"""An encrypted group chat for the terminal: one server you run yourself, one room."""

__version__ = "0.5.0"
