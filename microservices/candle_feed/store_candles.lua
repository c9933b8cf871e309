-- Stores candles of one symbol: one per open time, a later one replaces, the newest are kept.
--
-- KEYS[1]  the sorted set quantum:candles:{symbol}
-- ARGV[1]  how many candles are kept
-- ARGV[2…] pairs: open time in ms (the score), the candle's JSON (the member)
--
-- All in one step, so that no reader ever sees a minute twice or missing while it is replaced. Safe to send again.
-- A key of another type is replaced.
-- Returns how many candles the set holds.
if redis.call('TYPE', KEYS[1]).ok ~= 'zset' then
  redis.call('DEL', KEYS[1])
end
for i = 2, #ARGV, 2 do
  redis.call('ZREMRANGEBYSCORE', KEYS[1], ARGV[i], ARGV[i])
  redis.call('ZADD', KEYS[1], ARGV[i], ARGV[i + 1])
end
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -tonumber(ARGV[1]) - 1)
return redis.call('ZCARD', KEYS[1])
