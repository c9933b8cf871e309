-- Raises one field of the shared back-off; never lowers one.
--
-- KEYS[1]  the hash quantum:exchange:backoff
-- ARGV[1]  the field: weight_until_ms, throttled_until_ms, orders_until_ms or banned_until_ms
-- ARGV[2]  "+N": until N ms from now; "next_minute": until one second into the next full minute
-- ARGV[3]  the service that raises it
--
-- Times are Redis's own. A field that is not 1 to 15 digits counts as unset. Returns 1 where the field was raised, else 0.
-- The key is never expired: a time that has passed holds nobody up.
local now = redis.call('TIME')
local now_ms = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000)
local until_ms
if ARGV[2] == 'next_minute' then
  until_ms = (math.floor(now_ms / 60000) + 1) * 60000 + 1000
else
  until_ms = now_ms + tonumber(ARGV[2])
end
local standing = redis.call('HGET', KEYS[1], ARGV[1])
if standing and #standing <= 15 and standing:match('^%d+$') and until_ms <= tonumber(standing) then
  return 0
end
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', until_ms), 'by', ARGV[3])
return 1
