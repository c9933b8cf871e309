-- Give up a lease that is still ours.
-- KEYS[1]  the lease
-- ARGV[1]  our instance id
-- Returns  1 where it was ours, else 0. Never touches another's lease.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
return redis.call('DEL', KEYS[1])
