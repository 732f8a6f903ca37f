"""Proves the files that provision, deploy and package read, before they read them."""
