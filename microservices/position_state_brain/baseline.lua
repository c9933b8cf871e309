-- Adopt the whole account: every ledger row becomes the exchange's position, and results are read from here on.
-- KEYS[1]  lease of the brain     KEYS[2]  ledger cursor            KEYS[3]  stream of results
-- KEYS[4]  open claims            KEYS[5]  baseline                 KEYS[6]  the operator's request
-- KEYS[7]  stream of permit events
-- KEYS[8…] the ledger rows to set
-- ARGV[1]  our instance id        ARGV[2]  true: an operator asks for it; false: the first start on paper
-- ARGV[3]  who                    ARGV[4]  epoch ms at which the snapshot was requested
-- ARGV[5]  how many positions it shows                              ARGV[6]  epoch s
-- ARGV[7]  gate                   ARGV[8]  reason of the event      ARGV[9]  context of the event
-- ARGV[10] length of the event stream, about
-- ARGV[11] ms that must lie between an execution and the snapshot
-- ARGV[12…] the new position_amt of each row
-- Returns lease_lost, wrong_type, claim_open, result_too_new, not_asked, adopted_before (nothing written), else done.
-- The request is consumed with the adoption. An unread result older than the snapshot by ARGV[11] is in it already.
if not holds_lease(KEYS[1], ARGV[1]) then
  return 'lease_lost'
end
if not (one_of(KEYS[3], 'stream') and one_of(KEYS[4], 'hash') and one_of(KEYS[7], 'stream')) then
  return 'wrong_type'
end
if redis.call('HLEN', KEYS[4]) > 0 then
  return 'claim_open'
end
local cursor = kind(KEYS[2]) == 'string' and redis.call('GET', KEYS[2]) or '0-0'
local newest = redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)
if newest[1] and newest[1][1] ~= cursor then
  local newest_ms = tonumber(string.match(newest[1][1], '^%d+'))
  if newest_ms + tonumber(ARGV[11]) > tonumber(ARGV[4]) then
    return 'result_too_new'
  end
end
if ARGV[2] == 'true' then
  if redis.call('DEL', KEYS[6]) == 0 then
    return 'not_asked'
  end
elseif redis.call('EXISTS', KEYS[5]) == 1 then
  return 'adopted_before'
end
if newest[1] then
  cursor = newest[1][1]
end
local at_us = now_us()
for index = 8, #KEYS do
  redis.call('DEL', KEYS[index])
  redis.call('HSET', KEYS[index], 'position_amt', ARGV[index + 4], 'last_result_id', cursor, 'updated_at', ARGV[6])
end
redis.call('SET', KEYS[2], cursor)
redis.call('DEL', KEYS[5])
redis.call('HSET', KEYS[5], 'adopted_at_ms', whole(at_us / 1000), 'by', ARGV[3], 'snapshot_ts_ms', ARGV[4],
  'positions', ARGV[5], 'result_id', cursor)
append_event(KEYS[7], ARGV[10], at_us, adoption(ARGV[7], '', ARGV[8], ARGV[9]))
return 'done'
