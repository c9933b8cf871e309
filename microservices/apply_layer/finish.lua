-- Ends a plan: its claim becomes done, its result is written, its stream entry is acked.
--
-- KEYS[1] lease            [2] the plan's claim     [3] quantum:apply:open
-- KEYS[4] results          [5] plans                [6] quantum:apply:opens
-- ARGV[1] instance id      [2] plan id              [3] its stream entry id   [4] the group of the plans' stream
-- ARGV[5] new: the plan must have no claim; claimed: it may have one of this entry that is not done
-- ARGV[6] how long the done claim is kept, s        [7] 1 where an OPEN was filled, else 0
-- ARGV[8] how long that is kept, s                  [9] symbol                [10] client order id, or empty
-- ARGV[11..] the result's fields and values
--
-- Returns { 'done', result id }, { 'exists', state, entry id, result id } where the claim forbids it, { 'broken', key }
-- where the results' key is no stream, or { 'lease_lost' }.
--
-- Guarantees: a result is written only where this very call makes the claim done, and both happen, or neither. Where the
-- claim is done already for this entry, the entry is acked and nothing else happens.
if not holds_lease(KEYS[1], ARGV[1]) then
  return { 'lease_lost' }
end
if not is_type(KEYS[2], 'hash') then
  return { 'exists', 'unreadable', '', '' }
end
local plan_id, entry_id = ARGV[2], ARGV[3]
if redis.call('EXISTS', KEYS[2]) == 1 then
  local state, owner = field(KEYS[2], 'state') or 'unreadable', field(KEYS[2], 'plan_entry_id') or ''
  if state == 'done' and owner == entry_id then
    redis.pcall('XACK', KEYS[5], ARGV[4], entry_id)
    redis.pcall('HDEL', KEYS[3], plan_id)
  end
  if ARGV[5] == 'new' or state == 'done' or owner ~= entry_id then
    return { 'exists', state, owner, field(KEYS[2], 'result_id') or '' }
  end
end
if not is_type(KEYS[4], 'stream') then
  return { 'broken', KEYS[4] }
end

-- The result comes first: it is what a full server refuses, and then nothing has happened.
local result_id = redis.call('XADD', KEYS[4], '*', unpack(ARGV, 11))
local at_ms = string.format('%.0f', now_ms())
redis.call('HSET', KEYS[2], 'state', 'done', 'symbol', ARGV[9], 'done_at_ms', at_ms, 'plan_entry_id', entry_id,
  'result_id', result_id)
if ARGV[10] ~= '' then
  redis.call('HSET', KEYS[2], 'client_order_id', ARGV[10])
end
redis.call('EXPIRE', KEYS[2], ARGV[6])
redis.pcall('HDEL', KEYS[3], plan_id)
redis.pcall('XACK', KEYS[5], ARGV[4], entry_id)
if ARGV[7] == '1' and is_type(KEYS[6], 'zset') then
  redis.call('ZADD', KEYS[6], at_ms, plan_id)
  redis.call('ZREMRANGEBYSCORE', KEYS[6], '-inf', string.format('%.0f', tonumber(at_ms) - tonumber(ARGV[8]) * 1000))
  redis.call('EXPIRE', KEYS[6], ARGV[8])
end
return { 'done', result_id }
