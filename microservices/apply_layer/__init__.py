"""The only executor: a plan becomes an order with every permit it needs, once, and always ends in one result."""
