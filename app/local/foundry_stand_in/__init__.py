"""A stand-in of a project in Azure AI Foundry on loopback: its REST API, and the service's part on the queues."""
