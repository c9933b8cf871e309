-- Write down what the books say after a look, unless somebody else has judged since.
-- KEYS[1]  status hash
-- ARGV[1]  the base that the judgement began with, '' for none     ARGV[2]  the lost_total that it began with
-- ARGV[3]  the new base, '' for none                               ARGV[4]  newly lost messages
-- ARGV[5]  entries added and ARGV[6] last generated id of the stream as seen
-- ARGV[7]  the id up to which all is settled                       ARGV[8]  1 where another stream stands there now
-- Returns  1 where it was written, 0 where the books had changed and the look must be repeated
-- Guarantees: one loss is counted by one judge, whichever of several instances saw it.
local known = redis.call('HMGET', KEYS[1], 'entries_base', 'lost_total', 'stream_added')
if (known[1] or '') ~= ARGV[1] or (known[2] or '0') ~= ARGV[2] then
  return 0
end
if ARGV[3] ~= '' then
  redis.call('HSET', KEYS[1], 'entries_base', ARGV[3])
end
if tonumber(ARGV[4]) > 0 then
  redis.call('HINCRBY', KEYS[1], 'lost_total', ARGV[4])
end
-- A commit that came after the look has recorded more.
if ARGV[8] == '1' or tonumber(ARGV[5]) >= tonumber(known[3] or 0) then
  redis.call('HSET', KEYS[1], 'stream_added', ARGV[5], 'stream_last_id', ARGV[6])
end
redis.call('HSET', KEYS[1], 'settled_through', ARGV[7])
return 1
