-- Count a batch: what this very call takes out of the pending list is counted, put aside as a dead letter, or counted as
-- lost, and all of it in this one unit. Sent twice, or for messages that another consumer has counted, it does nothing.
-- KEYS[1]   stream of results     KEYS[2]  status hash     KEYS[3]  stream of dead letters
-- KEYS[4..] buckets
-- ARGV[1]   group                 ARGV[2]  lowest id of this call     ARGV[3]  highest id of this call
-- ARGV[4]   a bucket's life in s  ARGV[5]  dead letters kept, about
-- ARGV[6]   most reasons a bucket has, ARGV[7] the field that takes the rest, ARGV[8] that of `none`, which needs no room
-- ARGV[9]   most symbol breakdowns a bucket has, ARGV[10] the field that takes the rest
-- ARGV[11]  how many groups of messages follow, each:
--           index of its bucket in KEYS, decision field, reason field, symbol breakdown field or '', 1 if late else 0,
--           how many ids, ids
-- then      how many ids of entries without a body, ids
-- then      how many dead letters, each: id, how many names and values, names and values
-- Returns   { counted, dead letters, lost, late, repeated }
-- Guarantees: nothing is acked and not counted, or counted and not acked. It refuses before its first write where a key
-- is of another type, and a write refused by Redis itself (memory, disk, read-only) is refused at its first, the XACK.
-- Ids up to `settled_through` were settled before: they are acked and not counted again.
local stream, status, dead_letters, group = KEYS[1], KEYS[2], KEYS[3], ARGV[1]

for i, key in ipairs(KEYS) do
  local wanted = (i == 1 or i == 3) and 'stream' or 'hash'
  local found = redis.call('TYPE', key).ok
  if found ~= 'none' and found ~= wanted then
    return redis.error_reply('WRONGTYPE ' .. key .. ' is a ' .. found .. ', not a ' .. wanted)
  end
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

local settled_through = redis.call('HGET', status, 'settled_through') or ''
local all_open = id_less(settled_through, ARGV[2])
local counted, dead, lost, late, repeated = 0, 0, 0, 0, 0
local needs_no_room = { [ARGV[7]] = true, [ARGV[8]] = true, [ARGV[10]] = true }

-- Ack ARGV[first..last] and say how many of them are this call's to count.
local function take(first, last)
  if all_open then
    return redis.call('XACK', stream, group, unpack(ARGV, first, last))
  end
  local taken = 0
  for i = first, last do
    local acked = redis.call('XACK', stream, group, ARGV[i])
    if id_less(settled_through, ARGV[i]) then
      taken = taken + acked
    else
      repeated = repeated + acked
    end
  end
  return taken
end

local function bump(key, field, n)
  local reply = redis.pcall('HINCRBY', key, field, n)
  if type(reply) == 'number' then
    return reply
  end
  redis.call('HSET', key, field, n) -- somebody wrote what is no number there: the count begins anew
  return n
end

local fields_of_kind = {} -- by key and kind, counted once per call and only in a bucket that may be full

local function fields_now(key, kind)
  local name = key .. kind
  if fields_of_kind[name] then
    fields_of_kind[name] = fields_of_kind[name] + 1
    return fields_of_kind[name]
  end
  local n = 0
  for _, field in ipairs(redis.call('HKEYS', key)) do
    if field:sub(1, #kind) == kind and not needs_no_room[field] then
      n = n + 1
    end
  end
  fields_of_kind[name] = n
  return n
end

-- Count under a field of its own while the bucket has room for one more, else under `rest`.
local function bump_bounded(key, kind, field, n, most, rest)
  if bump(key, field, n) > n or needs_no_room[field] or redis.call('HLEN', key) <= most then
    return
  end
  if fields_now(key, kind) > most then
    redis.call('HDEL', key, field)
    fields_of_kind[key .. kind] = most
    bump(key, rest, n)
  end
end

local function add(sums, key, field, n)
  sums[key] = sums[key] or {}
  sums[key][field] = (sums[key][field] or 0) + n
end

local decisions, reasons, breakdowns = {}, {}, {}
local at = 12
for _ = 1, tonumber(ARGV[11]) do
  local key, ids = KEYS[tonumber(ARGV[at])], tonumber(ARGV[at + 5])
  local n = take(at + 6, at + 5 + ids)
  if n > 0 then
    counted = counted + n
    late = late + n * tonumber(ARGV[at + 4])
    add(decisions, key, ARGV[at + 1], n)
    add(reasons, key, ARGV[at + 2], n)
    if ARGV[at + 3] ~= '' then
      add(breakdowns, key, ARGV[at + 3], n)
    end
  end
  at = at + 6 + ids
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
    redis.call('XADD', dead_letters, 'MAXLEN', '~', ARGV[5], '*', unpack(ARGV, at + 2, at + 1 + pairs_count))
  end
  at = at + 2 + pairs_count
end

for key, fields in pairs(decisions) do
  for field, n in pairs(fields) do
    bump(key, field, n)
  end
  redis.call('EXPIRE', key, ARGV[4])
end
for key, fields in pairs(reasons) do
  for field, n in pairs(fields) do
    bump_bounded(key, 'reason:', field, n, tonumber(ARGV[6]), ARGV[7])
  end
end
for key, fields in pairs(breakdowns) do
  for field, n in pairs(fields) do
    bump_bounded(key, 'symbol_reason:', field, n, tonumber(ARGV[9]), ARGV[10])
  end
end

local totals = { processed_total = counted, dead_letter_total = dead, lost_total = lost, late_total = late,
                 repeated_total = repeated }
for field, n in pairs(totals) do
  if n > 0 then
    bump(status, field, n)
  end
end
if counted + dead + lost > 0 then
  if id_less(redis.call('HGET', status, 'last_id') or '', ARGV[3]) then
    redis.call('HSET', status, 'last_id', ARGV[3])
  end
  -- What the stream had added is recorded with every commit: it is all there is to know of a stream once it is deleted.
  local info, seen = redis.call('XINFO', 'STREAM', stream), {}
  for i = 1, #info, 2 do
    seen[info[i]] = info[i + 1]
  end
  local known = redis.call('HMGET', status, 'stream_added', 'stream_last_id')
  local replaced = tonumber(known[1] or 0) > seen['entries-added'] or id_less(seen['last-generated-id'], known[2] or '')
  if not replaced then
    redis.call('HSET', status, 'stream_added', string.format('%.0f', seen['entries-added']),
      'stream_last_id', seen['last-generated-id'])
  end
end
return { counted, dead, lost, late, repeated }
