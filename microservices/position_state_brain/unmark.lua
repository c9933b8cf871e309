-- Remove an in-flight mark whose plan can no longer become an order: its permit is gone and nobody claimed it.
-- KEYS[1]  lease of the brain     KEYS[2]  the symbol's in-flight mark
-- KEYS[3]  permit of the plan in the mark                           KEYS[4]  its claim
-- ARGV[1]  our instance id        ARGV[2]  entry id that the mark must name
-- Returns lease_lost, kept or removed.
if not holds_lease(KEYS[1], ARGV[1]) then
  return 'lease_lost'
end
if kind(KEYS[2]) ~= 'hash' or redis.call('HGET', KEYS[2], 'plan_entry_id') ~= ARGV[2] then
  return 'kept'
end
if redis.call('EXISTS', KEYS[3], KEYS[4]) > 0 then
  return 'kept'
end
redis.call('DEL', KEYS[2])
return 'removed'
