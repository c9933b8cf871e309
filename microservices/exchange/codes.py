"""Binance's error codes that decide something here.

Source: https://developers.binance.com/docs/derivatives/usds-margined-futures/error-code
"""

UNKNOWN = -1000
DISCONNECTED = -1001
TOO_MANY_REQUESTS = -1003
UNEXPECTED_RESPONSE = -1006
TIMEOUT = -1007
SERVER_BUSY = -1008
TOO_MANY_ORDERS = -1015
INVALID_TIMESTAMP = -1021
NO_SUCH_ORDER = -2013
UNABLE_TO_FILL = -2020
ME_RECV_WINDOW = -5028

# "Execution status unknown" (-1006, -1007), and the two internal errors whose texts promise nothing about the order.
OUTCOME_UNKNOWN = frozenset({UNKNOWN, DISCONNECTED, UNEXPECTED_RESPONSE, TIMEOUT})

# Codes that leave the outcome open whatever the text beside them says; -1001 comes with the text of a failure too.
NEVER_FAILED = OUTCOME_UNKNOWN - {DISCONNECTED}

# The exchange refused the timestamp: the kept offset of its clock is wrong, or the request travelled too long.
STALE_TIMESTAMP = frozenset({INVALID_TIMESTAMP, ME_RECV_WINDOW})
