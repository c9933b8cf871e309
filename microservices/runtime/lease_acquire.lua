-- Take a lease where it is free, ours, or left behind by the dead holder of the same lock file.
-- KEYS[1]  the lease
-- ARGV[1]  our instance id, `<lock id>:<random>`
-- ARGV[2]  lock id whose leases are superseded; empty where none is
-- ARGV[3]  the lease's time in ms
-- Returns  nil where it is ours now, else the id of who holds it. Writes nothing in that case.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
  local prefix = ARGV[2] .. ':'
  if ARGV[2] == '' or string.sub(holder, 1, #prefix) ~= prefix then
    return holder
  end
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
return false
