-- Apply one result exactly once: row, cursor and the end of its in-flight mark belong together.
-- KEYS[1]  lease of the brain     KEYS[2]  ledger cursor            KEYS[3]  the symbol's ledger row
-- KEYS[4]  the symbol's in-flight mark
-- ARGV[1]  our instance id        ARGV[2]  cursor as it was read, empty where there was none
-- ARGV[3]  id of the result       ARGV[4]  entry id of the plan that it ends
-- ARGV[5]  position_amt of the row as it was read, empty where there was no row
-- ARGV[6]  last_result_id of the row as it was read, empty where there was none
-- ARGV[7…] fields and values of the row; none where the result changes nothing
-- Returns lease_lost or moved (cursor or row are not as they were read: nothing written), else done.
if not holds_lease(KEYS[1], ARGV[1]) then
  return 'lease_lost'
end
local cursor = kind(KEYS[2]) == 'string' and redis.call('GET', KEYS[2]) or ''
if cursor ~= ARGV[2] then
  return 'moved'
end
if #ARGV > 6 then
  if not one_of(KEYS[3], 'hash') then
    return 'moved'
  end
  local row = redis.call('HMGET', KEYS[3], 'position_amt', 'last_result_id')
  if (row[1] or '') ~= ARGV[5] or (row[2] or '') ~= ARGV[6] then
    return 'moved'
  end
  redis.call('HSET', KEYS[3], unpack(ARGV, 7))
end
redis.call('SET', KEYS[2], ARGV[3])
if kind(KEYS[4]) == 'hash' and redis.call('HGET', KEYS[4], 'plan_entry_id') == ARGV[4] then
  redis.call('DEL', KEYS[4])
end
return 'done'
