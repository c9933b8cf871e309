-- Set or end the brain's own hold on a symbol; an operator's is never touched.
-- KEYS[1]  lease of the brain     KEYS[2]  the symbol's hold
-- ARGV[1]  our instance id        ARGV[2]  the hold, `brain:<cause>`; empty ends ours
-- ARGV[3]  how a hold of the brain begins
-- Returns lease_lost, kept (another stands there, or none to end), set or ended.
if not holds_lease(KEYS[1], ARGV[1]) then
  return 'lease_lost'
end
if ARGV[2] ~= '' then
  return redis.call('SET', KEYS[2], ARGV[2], 'NX') and 'set' or 'kept'
end
if kind(KEYS[2]) ~= 'string' then
  return 'kept'
end
if string.sub(redis.call('GET', KEYS[2]), 1, #ARGV[3]) ~= ARGV[3] then
  return 'kept'
end
redis.call('DEL', KEYS[2])
return 'ended'
