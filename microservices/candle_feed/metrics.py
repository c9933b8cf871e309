"""What the candle feed measures."""

from prometheus_client import Counter, Gauge

SYMBOLS = Gauge("candle_feed_symbols", "Symbols that are followed")
LAGGING = Gauge("candle_feed_lagging_symbols", "Symbols whose newest closed candle is not stored 15 s after its close")
LAST_CLOSE = Gauge("candle_feed_last_close_epoch", "Close of the newest stored candle, epoch seconds")
STORED = Counter("candle_feed_candles_stored", "Candles written to Redis, replacements included")
REFUSED = Counter("candle_feed_rows_refused", "Rows of the exchange that are no closed candle", ["fault"])
CORRECTED = Counter("candle_feed_candles_corrected", "Stored candles that were replaced by one with other figures")
LIVE = Counter("candle_feed_live_candles", "Closed candles of the streams, by what became of them", ["outcome"])
DROPPED = Counter("candle_feed_live_dropped", "Closed candles of the streams that found the inbox full")
COVERED = Gauge("candle_feed_live_symbols", "Symbols whose candles come by stream now")
RECONNECTS = Counter("candle_feed_reconnects", "Stream connections that were made again, by why", ["reason"])
STREAM_FAILURES = Counter("candle_feed_stream_failures", "Stream connections that failed to open, by error", ["error"])
GAPS_FILLED = Counter("candle_feed_gaps_filled", "Gaps between stored candles that were filled")
REQUESTS = Counter("candle_feed_requests", "Requests for candles by how they ended", ["outcome"])
WEIGHT_USED = Gauge("candle_feed_weight_used", "Request weight that the feed used in the last 60 s")
EXCHANGE_WEIGHT = Gauge("candle_feed_exchange_weight_used", "Weight used by this IP address as the exchange counts it")
