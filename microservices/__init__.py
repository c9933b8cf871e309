"""The services, and what they share: the schema, the running of a daemon, the exchange."""
