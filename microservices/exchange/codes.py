"""Binance's error codes that decide something here.

Source: https://developers.binance.com/docs/derivatives/usds-margined-futures/error-code
"""

UNKNOWN = -1000
DISCONNECTED = -1001
TOO_MANY_REQUESTS = -1003
UNEXPECTED_RESPONSE = -1006
TIMEOUT = -1007
SERVER_BUSY = -1008
INVALID_MESSAGE = -1013
TOO_MANY_ORDERS = -1015
INVALID_TIMESTAMP = -1021
INVALID_SIGNATURE = -1022
BAD_PRECISION = -1111
BAD_SYMBOL = -1121
CANCEL_REJECTED = -2011
NO_SUCH_ORDER = -2013
REJECTED_API_KEY = -2015
MARGIN_NOT_SUFFICIENT = -2019
UNABLE_TO_FILL = -2020
REDUCE_ONLY_REJECTED = -2022
USER_IN_LIQUIDATION = -2023
POSITION_SIDE_MISMATCH = -4061
MIN_NOTIONAL = -4164
ME_RECV_WINDOW = -5028

# "Execution status unknown" (-1006, -1007), and the two internal errors whose texts promise nothing about the order.
OUTCOME_UNKNOWN = frozenset({UNKNOWN, DISCONNECTED, UNEXPECTED_RESPONSE, TIMEOUT})

# The exchange refused the timestamp: the kept offset of its clock is wrong, or the request travelled too long.
STALE_TIMESTAMP = frozenset({INVALID_TIMESTAMP, ME_RECV_WINDOW})
