-- Ack a plan that gets no permit, with an event where there is something to say: an id that may stand in no key, a
-- duplicate, a plan that came as something else than EXECUTE.
-- KEYS[1]  stream of plans        KEYS[2]  lease of the brain       KEYS[3]  stream of permit events
-- ARGV[1]  group                  ARGV[2]  entry id of the plan     ARGV[3]  our instance id
-- ARGV[4]  length of the event stream, about
-- ARGV[5]  gate, empty for no event  ARGV[6]  plan id as it came    ARGV[7]  symbol
-- ARGV[8]  reason                 ARGV[9]  context
-- Returns {what, now in µs}: lease_lost (nothing written), not_ours (it was not pending), done; wrong_type is done
-- without its event, because the stream of events is none.
if redis.call('GET', KEYS[2]) ~= ARGV[3] then
  return {'lease_lost', 0}
end
local time = redis.call('TIME')
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
local events = redis.call('TYPE', KEYS[3]).ok
if redis.call('XACK', KEYS[1], ARGV[1], ARGV[2]) ~= 1 then
  return {'not_ours', now_us}
end
if ARGV[5] == '' then
  return {'done', now_us}
end
if events ~= 'none' and events ~= 'stream' then
  return {'wrong_type', now_us}
end
redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[4], '*', 'gate', ARGV[5], 'plan_id', ARGV[6],
  'plan_entry_id', ARGV[2], 'symbol', ARGV[7], 'allow', 'false', 'safe_qty', '0', 'reason', ARGV[8],
  'context', ARGV[9], 'issued_at_ms', string.format('%.0f', math.floor(now_us / 1000)))
return {'done', now_us}
