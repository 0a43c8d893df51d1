"""An encrypted group chat for the terminal: on a server of your own, or on several."""

__version__ = "0.5.0"
