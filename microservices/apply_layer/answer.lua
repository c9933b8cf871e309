-- Answers a stream entry that has no claim of its own: a duplicate, or one without a usable plan id.
--
-- KEYS[1] lease            [2] results              [3] plans
-- ARGV[1] instance id      [2] the stream entry id  [3] the group of the plans' stream
-- ARGV[4..] the result's fields and values
--
-- Returns { 'done', result id }, { 'not_pending' } where the entry is not pending in the group (any more),
-- { 'broken', key } where the results' key is no stream, or { 'lease_lost' }.
--
-- Guarantees: the result is written only where this very call takes the entry out of the pending list, and both happen,
-- or neither. No claim and no permit is touched.
if not holds_lease(KEYS[1], ARGV[1]) then
  return { 'lease_lost' }
end
local pending = redis.pcall('XPENDING', KEYS[3], ARGV[3], ARGV[2], ARGV[2], 1)
if pending.err or #pending == 0 then
  return { 'not_pending' }
end
if not is_type(KEYS[2], 'stream') then
  return { 'broken', KEYS[2] }
end
-- The result comes first: it is what a full server refuses, and then nothing has happened.
local result_id = redis.call('XADD', KEYS[2], '*', unpack(ARGV, 4))
redis.call('XACK', KEYS[3], ARGV[3], ARGV[2])
return { 'done', result_id }
