-- Count a batch: what this very call takes out of the pending list is counted, put aside as a dead letter, or counted as
-- lost, and all of it in this one unit. Sent twice, or for messages that another consumer has counted, it does nothing.
-- KEYS[1]   stream of results     KEYS[2]  status hash     KEYS[3]  stream of dead letters
-- KEYS[4..] buckets
-- ARGV[1]   group                 ARGV[2]  lowest and ARGV[3] highest id of the batch that this call is a part of
-- ARGV[4]   a bucket's life in s  ARGV[5]  dead letters kept, about
-- ARGV[6]   most reasons a bucket has, ARGV[7] the field that takes the rest, ARGV[8] that of `none`, which needs no room
-- ARGV[9]   most symbol breakdowns a bucket has, ARGV[10] the field that takes the rest
-- ARGV[11]  how many buckets follow, in the order of KEYS[4..], each:
--           how many fields, fields, each once;
--           how many groups of messages, each: five bytes, and its ids. The bytes say which field is its decision, its
--           reason, its symbol breakdown (0: none), 1 if late else 0, how many ids
-- then      how many ids of entries without a body, ids
-- then      how many dead letters, each: id, how many names and values, names and values
-- Returns   { counted, dead letters, lost, late, repeated }
-- Guarantees: nothing is acked and not counted, or counted and not acked. It refuses before its first write where a key
-- is of another type or may not be written. A Redis that takes no writes refuses the XACK, its first; one that is full does not, and lets
-- a script that has written go on to its end.
-- Ids up to `settled_through` were settled before: they are acked and not counted again.
local stream, status, dead_letters, group = KEYS[1], KEYS[2], KEYS[3], ARGV[1]
local call = redis.call

for i, key in ipairs(KEYS) do
  local wanted = (i == 1 or i == 3) and 'stream' or 'hash'
  local found = call('TYPE', key).ok
  if found ~= 'none' and found ~= wanted then
    return redis.error_reply('WRONGTYPE ' .. key .. ' is a ' .. found .. ', not a ' .. wanted)
  end
end

-- What runs after the first XACK must be permitted before it; one bucket stands for all, their names differ in digits.
local needed = {
  { 'XINFO', 'STREAM', stream }, { 'XADD', dead_letters, '*', 'reason', '' },
  { 'HSET', status, 'f', '' }, { 'HGET', status, 'f' }, { 'HMGET', status, 'f' },
}
local bucket_commands = {
  { 'HSET', KEYS[4], 'f', '' }, { 'HGET', KEYS[4], 'f' }, { 'HMGET', KEYS[4], 'f' },
  { 'HKEYS', KEYS[4] }, { 'HLEN', KEYS[4] }, { 'EXPIRE', KEYS[4], '1' },
}
local function refused(commands)
  for _, words in ipairs(commands) do
    if not redis.acl_check_cmd(unpack(words)) then
      return words[1]
    end
  end
end
local not_permitted = refused(needed) or KEYS[4] and refused(bucket_commands)
if not_permitted then
  return redis.error_reply('NOPERM a count needs ' .. not_permitted .. ', which this user may not do')
end

-- Numbers beyond 2^53 stay text: of two without leading zeros the longer is the larger.
local function less(a, b)
  if #a ~= #b then
    return #a < #b
  end
  return a < b
end

local function id_less(a, b)
  local a_ms, a_seq = a:match('^(%d+)-(%d+)$')
  local b_ms, b_seq = b:match('^(%d+)-(%d+)$')
  if not a_ms or not b_ms then
    return not a_ms and b_ms ~= nil
  end
  if a_ms ~= b_ms then
    return less(a_ms, b_ms)
  end
  return less(a_seq, b_seq)
end

local settled_through = call('HGET', status, 'settled_through') or ''
local all_open = id_less(settled_through, ARGV[2])
local counted, dead, lost, late, repeated = 0, 0, 0, 0, 0
local needs_no_room = { [ARGV[7]] = true, [ARGV[8]] = true, [ARGV[10]] = true }

-- Ack ARGV[first..last] and say how many of them are this call's to count.
local function take(first, last)
  if all_open then
    return call('XACK', stream, group, unpack(ARGV, first, last))
  end
  local taken = 0
  for i = first, last do
    local acked = call('XACK', stream, group, ARGV[i])
    if id_less(settled_through, ARGV[i]) then
      taken = taken + acked
    else
      repeated = repeated + acked
    end
  end
  return taken
end

-- What is to be added to a bucket: more[i] to the field ARGV[before + i].
local buckets = {}
local at = 12
for b = 1, tonumber(ARGV[11]) do
  local fields, more, before, taken = tonumber(ARGV[at]), {}, at, 0
  for i = 1, fields do
    more[i] = 0
  end
  at = at + 1 + fields
  local groups = tonumber(ARGV[at])
  at = at + 1
  for _ = 1, groups do
    local decided, reason, breakdown, is_late, ids = ARGV[at]:byte(1, 5)
    local n = take(at + 1, at + ids)
    if n > 0 then
      more[decided] = more[decided] + n
      more[reason] = more[reason] + n
      if breakdown > 0 then
        more[breakdown] = more[breakdown] + n
      end
      taken = taken + n
      late = late + n * is_late
    end
    at = at + 1 + ids
  end
  if taken > 0 then
    counted = counted + taken
    buckets[#buckets + 1] = { key = KEYS[3 + b], fields = fields, more = more, before = before }
  end
end

local bodiless = tonumber(ARGV[at])
if bodiless > 0 then
  lost = take(at + 1, at + bodiless)
end
at = at + 1 + bodiless

at = at + 1
for _ = 1, tonumber(ARGV[at - 1]) do
  local pairs_count = tonumber(ARGV[at + 1])
  if take(at, at) == 1 then
    dead = dead + 1
    call('XADD', dead_letters, 'MAXLEN', '~', ARGV[5], '*', unpack(ARGV, at + 2, at + 1 + pairs_count))
  end
  at = at + 2 + pairs_count
end

-- Read a count. What is no number was written by somebody else's hand: the count begins anew.
local function number(value)
  local n = tonumber(value or 0)
  if n and n >= 0 and n < 2 ^ 53 and n == math.floor(n) then
    return n
  end
  return 0
end

-- Send to `rest` what a bucket has no room for: of the fields of a kind that are not there yet, those beyond `most`.
local function keep_bound(bucket, present, kind, most, rest)
  local key, more, before = bucket.key, bucket.more, bucket.before
  local new, width = {}, #kind
  for i = 1, bucket.fields do
    if not present[i] and more[i] > 0 then
      local field = ARGV[before + i]
      if field:sub(1, width) == kind and not needs_no_room[field] then
        new[#new + 1] = i
      end
    end
  end
  if #new == 0 or call('HLEN', key) + #new <= most then
    return
  end
  local room, beyond = most, 0
  for _, field in ipairs(call('HKEYS', key)) do
    if field:sub(1, width) == kind and not needs_no_room[field] then
      room = room - 1
    end
  end
  for j = math.max(room, 0) + 1, #new do
    beyond = beyond + more[new[j]]
    more[new[j]] = 0
  end
  for i = 1, bucket.fields do
    if ARGV[before + i] == rest and more[i] > 0 then
      more[i] = more[i] + beyond
      return
    end
  end
  if beyond > 0 then
    call('HSET', key, rest, number(call('HGET', key, rest)) + beyond)
  end
end

for _, bucket in ipairs(buckets) do
  local key, more, before = bucket.key, bucket.more, bucket.before
  local present = call('HMGET', key, unpack(ARGV, before + 1, before + bucket.fields))
  local written, last = {}, 0
  keep_bound(bucket, present, 'reason:', tonumber(ARGV[6]), ARGV[7])
  keep_bound(bucket, present, 'symbol_reason:', tonumber(ARGV[9]), ARGV[10])
  for i = 1, bucket.fields do
    if more[i] > 0 then
      written[last + 1], written[last + 2] = ARGV[before + i], number(present[i]) + more[i]
      last = last + 2
    end
  end
  call('HSET', key, unpack(written))
  call('EXPIRE', key, ARGV[4])
end

local totals = {
  { 'processed_total', counted }, { 'dead_letter_total', dead }, { 'lost_total', lost }, { 'late_total', late },
  { 'repeated_total', repeated },
}
for _, total in ipairs(totals) do
  if total[2] > 0 then
    call('HSET', status, total[1], number(call('HGET', status, total[1])) + total[2])
  end
end
if counted + dead + lost > 0 and id_less(call('HGET', status, 'last_id') or '', ARGV[3]) then
  call('HSET', status, 'last_id', ARGV[3])
  -- What the stream had added is recorded on the way: it is all there is to know of a stream once it is deleted.
  local info, seen = call('XINFO', 'STREAM', stream), {}
  for i = 1, #info, 2 do
    seen[info[i]] = info[i + 1]
  end
  local known = call('HMGET', status, 'stream_added', 'stream_last_id')
  local replaced = number(known[1]) > seen['entries-added'] or id_less(seen['last-generated-id'], known[2] or '')
  if not replaced then
    call('HSET', status, 'stream_added', seen['entries-added'], 'stream_last_id', seen['last-generated-id'])
  end
end
return { counted, dead, lost, late, repeated }
