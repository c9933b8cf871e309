-- Renew a lease that is still ours.
-- KEYS[1]  the lease
-- ARGV[1]  our instance id
-- ARGV[2]  the lease's time in ms
-- Returns  1 where it is ours, 0 where it is another's or ran out. Writes nothing in that case.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
