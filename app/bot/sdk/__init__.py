"""The channel adapter, and the authentication and clients that botbuilder asks for."""
