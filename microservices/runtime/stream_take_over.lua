-- Take over entries that other consumers of the group have left pending, without losing those whose body is gone.
-- XAUTOCLAIM and XCLAIM drop such an entry from the pending list by themselves: a lost reply would then lose its count.
-- Here it stays pending, is named, and leaves the list only by the XACK of whoever counts it.
-- KEYS[1]  the stream
-- ARGV[1]  group   ARGV[2]  our consumer name   ARGV[3]  least idle time in ms
-- ARGV[4]  first id to look at, `-` for all     ARGV[5]  how many at most
-- Returns  { id after which to go on, or '' where the list's end was reached,
--            { entry, ... } first each { id, false } without a body, then each { id, { field, value, ... } }, now ours }
local pending = redis.call('XPENDING', KEYS[1], ARGV[1], 'IDLE', ARGV[3], ARGV[4], '+', ARGV[5])
local taken, ours = {}, {}
for _, row in ipairs(pending) do
  local id, consumer = row[1], row[2]
  if consumer ~= ARGV[2] then
    if #redis.call('XRANGE', KEYS[1], id, id, 'COUNT', 1) == 0 then
      taken[#taken + 1] = { id, false }
    else
      ours[#ours + 1] = id
    end
  end
end
if #ours > 0 then
  for _, entry in ipairs(redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], unpack(ours))) do
    taken[#taken + 1] = entry
  end
end
local next_id = ''
if #pending == tonumber(ARGV[5]) then
  next_id = pending[#pending][1]
end
return { next_id, taken }
