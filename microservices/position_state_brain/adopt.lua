-- Set one symbol's ledger row to the exchange's position, while nothing of the symbol is on its way.
-- KEYS[1]  lease of the brain     KEYS[2]  ledger cursor            KEYS[3]  stream of results
-- KEYS[4]  open claims            KEYS[5]  the symbol's ledger row  KEYS[6]  stream of permit events
-- KEYS[7]  the operator's request, absent where the brain adopts by itself
-- ARGV[1]  our instance id        ARGV[2]  gate                     ARGV[3]  symbol
-- ARGV[4]  position_amt of the row as it was read, empty where there was no row
-- ARGV[5]  last_result_id of the row as it was read, empty where there was none
-- ARGV[6]  the new position_amt   ARGV[7]  epoch s                  ARGV[8]  context of the event
-- ARGV[9]  reason of the event    ARGV[10] length of the event stream, about
-- Returns lease_lost, claim_open, result_unread, moved, not_asked, wrong_type (nothing written), else done. The request
-- is consumed with the adoption, and puts a row in place of whatever stands there.
if not holds_lease(KEYS[1], ARGV[1]) then
  return 'lease_lost'
end
if not (one_of(KEYS[2], 'string') and one_of(KEYS[3], 'stream') and one_of(KEYS[4], 'hash')
  and (KEYS[7] or one_of(KEYS[5], 'hash')) and one_of(KEYS[6], 'stream')) then
  return 'wrong_type'
end
for _, value in ipairs(redis.call('HVALS', KEYS[4])) do
  local readable, claim = pcall(cjson.decode, value)
  if not readable or type(claim) ~= 'table' or claim['symbol'] == nil or claim['symbol'] == ARGV[3] then
    return 'claim_open'
  end
end
local cursor = redis.call('GET', KEYS[2]) or '0-0'
if #redis.call('XRANGE', KEYS[3], '(' .. cursor, '+', 'COUNT', 1) > 0 then
  return 'result_unread'
end
if one_of(KEYS[5], 'hash') then
  local row = redis.call('HMGET', KEYS[5], 'position_amt', 'last_result_id')
  if (row[1] or '') ~= ARGV[4] or (row[2] or '') ~= ARGV[5] then
    return 'moved'
  end
end
if KEYS[7] then
  if redis.call('DEL', KEYS[7]) == 0 then
    return 'not_asked'
  end
  redis.call('DEL', KEYS[5])
end
redis.call('HSET', KEYS[5], 'position_amt', ARGV[6], 'last_result_id', cursor, 'updated_at', ARGV[7])
append_event(KEYS[6], ARGV[10], now_us(), adoption(ARGV[2], ARGV[3], ARGV[9], ARGV[8]))
return 'done'
