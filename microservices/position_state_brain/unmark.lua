-- Remove an in-flight mark whose plan can no longer become an order: its permit is gone, and nobody claimed it, or the
-- claim was done so long ago that its result would have ended the mark, had it not been lost or passed over.
-- KEYS[1]  lease of the brain     KEYS[2]  the symbol's in-flight mark
-- KEYS[3]  permit of the plan in the mark                           KEYS[4]  its claim
-- ARGV[1]  our instance id        ARGV[2]  entry id that the mark must name
-- ARGV[3]  for how many ms the claim must have been done
-- Returns lease_lost, kept, removed, or removed_without_result.
if not holds_lease(KEYS[1], ARGV[1]) then
  return 'lease_lost'
end
if kind(KEYS[2]) ~= 'hash' or redis.call('HGET', KEYS[2], 'plan_entry_id') ~= ARGV[2] then
  return 'kept'
end
if redis.call('EXISTS', KEYS[3]) > 0 then
  return 'kept'
end
local what = 'removed'
if redis.call('EXISTS', KEYS[4]) > 0 then
  if kind(KEYS[4]) ~= 'hash' or redis.call('HGET', KEYS[4], 'state') ~= 'done' then
    return 'kept'
  end
  local done_at_ms = tonumber(redis.call('HGET', KEYS[4], 'done_at_ms') or '')
  if not done_at_ms or now_us() / 1000 - done_at_ms < tonumber(ARGV[3]) then
    return 'kept'
  end
  what = 'removed_without_result'
end
redis.call('DEL', KEYS[2])
return what
