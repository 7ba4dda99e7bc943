"""The version of the package: that of the server with which it is released."""

__version__ = "0.1.0"
