-- Stores candles of one symbol: one per open time, a later one replaces, the newest are kept.
--
-- KEYS[1]  the sorted set quantum:candles:{symbol}
-- ARGV[1]  how many candles are kept
-- ARGV[2]  an open time in ms
-- ARGV[3…] pairs: open time in ms (the score), the candle's JSON (the member)
--
-- All in one step, so that no reader ever sees a minute twice or missing while it is replaced. Safe to send again.
-- A candle that stands there already is not written again. A key of another type is replaced.
-- Returns how many candles the set holds from ARGV[2] on, and how many were replaced by one with other figures.
if redis.call('TYPE', KEYS[1]).ok ~= 'zset' then
  redis.call('DEL', KEYS[1])
end
local corrected = 0
for i = 3, #ARGV, 2 do
  local there = redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[i], ARGV[i])
  if #there ~= 1 or there[1] ~= ARGV[i + 1] then
    if #there > 0 then
      redis.call('ZREMRANGEBYSCORE', KEYS[1], ARGV[i], ARGV[i])
      corrected = corrected + 1
    end
    redis.call('ZADD', KEYS[1], ARGV[i], ARGV[i + 1])
  end
end
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -tonumber(ARGV[1]) - 1)
return {redis.call('ZCOUNT', KEYS[1], ARGV[2], '+inf'), corrected}
