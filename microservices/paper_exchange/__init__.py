"""Paper exchange: a local stand-in for Binance USDⓈ-M Futures that speaks its wire format."""
