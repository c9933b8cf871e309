-- Write one verdict with everything that belongs to it, once: permit, verdict, event, in-flight mark and XACK.
-- KEYS[1]  stream of plans                 KEYS[2]  lease of the brain
-- KEYS[3]  the plan's permit               KEYS[4]  the plan's verdict
-- KEYS[5]  stream of permit events         KEYS[6]  the symbol's in-flight mark
-- KEYS[7]  the plan's claim
-- KEYS[8]  permit of the open that this exit displaces, KEYS[9] its verdict, KEYS[10] its claim (absent: none)
-- ARGV[1]  group          ARGV[2]  entry id of the plan      ARGV[3]  our instance id
-- ARGV[4]  permit as JSON without its dates and closing brace
-- ARGV[5]  the permit's life in ms         ARGV[6]  epoch ms at which the plan expires
-- ARGV[7]  the verdict's life in s         ARGV[8]  length of the event stream, about
-- ARGV[9]  gate           ARGV[10] plan id  ARGV[11] symbol  ARGV[12] allow: true or false
-- ARGV[13] safe_qty       ARGV[14] reason   ARGV[15] context ARGV[16] digest  ARGV[17] action
-- ARGV[18] entry id in the mark that the verdict was made on, empty where there was none (an allow only)
-- ARGV[19] the displaced open's permit as it was read, ARGV[20] the deny that takes its place
-- ARGV[21] its plan id, ARGV[22] its entry id
-- Returns {what, now in µs}. What it wrote:
--   lease_lost, expired, moved, wrong_type   nothing, and the entry is not acked
--   not_ours                                 nothing: the entry was not pending
--   already                                  the ack alone: this entry has its verdict
--   plan_ended, duplicate                    the ack and an event
--   done, displaced                          all of it
-- An allow is written only while the mark is the one that was judged, and lives no longer than its plan. An open is
-- displaced only while nobody has claimed it; its permit becomes a deny with the life that is left.
if not holds_lease(KEYS[2], ARGV[3]) then
  return {'lease_lost', 0}
end
local at_us = now_us()
local now_ms = math.floor(at_us / 1000)
local allow = ARGV[12] == 'true'
local deadline_ms = tonumber(ARGV[6])

local function event(plan_id, entry_id, allowed, safe_qty, reason)
  append_event(KEYS[5], ARGV[8], at_us, {gate = ARGV[9], plan_id = plan_id, plan_entry_id = entry_id,
    symbol = ARGV[11], allow = allowed, safe_qty = safe_qty, reason = reason, context = ARGV[15]})
end

if not (one_of(KEYS[4], 'hash') and one_of(KEYS[5], 'stream')) then
  return {'wrong_type', at_us}
end
local first_entry_id = redis.call('HGET', KEYS[4], 'plan_entry_id')
if first_entry_id == ARGV[2] then
  redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
  return {'already', at_us}
end
local ended = redis.call('EXISTS', KEYS[7]) == 1
if ended or first_entry_id or redis.call('EXISTS', KEYS[3]) == 1 then
  if redis.call('XACK', KEYS[1], ARGV[1], ARGV[2]) ~= 1 then
    return {'not_ours', at_us}
  end
  event(ARGV[10], ARGV[2], 'false', '0', ended and 'plan_ended' or 'duplicate_plan')
  return {ended and 'plan_ended' or 'duplicate', at_us}
end

if allow then
  if deadline_ms <= now_ms then
    return {'expired', at_us}
  end
  if not one_of(KEYS[6], 'hash') or (redis.call('HGET', KEYS[6], 'plan_entry_id') or '') ~= ARGV[18] then
    return {'moved', at_us}
  end
end
if redis.call('XACK', KEYS[1], ARGV[1], ARGV[2]) ~= 1 then
  return {'not_ours', at_us}
end

local expires_ms = now_ms + tonumber(ARGV[5])
if deadline_ms > now_ms and deadline_ms < expires_ms then
  expires_ms = deadline_ms
end
local expires = whole(expires_ms)
local dates = string.format(',"created_at":%.3f,"expires_at_ms":%s}', now_ms / 1000, expires)
redis.call('SET', KEYS[3], ARGV[4] .. dates, 'NX', 'PXAT', expires)
redis.call('HSET', KEYS[4], 'plan_entry_id', ARGV[2], 'digest', ARGV[16], 'allow', ARGV[12], 'reason', ARGV[14])
redis.call('EXPIRE', KEYS[4], ARGV[7])
event(ARGV[10], ARGV[2], ARGV[12], ARGV[13], ARGV[14])
if not allow then
  return {'done', at_us}
end

local what = 'done'
if KEYS[8] and redis.call('EXISTS', KEYS[10]) == 0 and kind(KEYS[8]) == 'string'
  and redis.call('GET', KEYS[8]) == ARGV[19] then
  redis.call('SET', KEYS[8], ARGV[20], 'KEEPTTL')
  if kind(KEYS[9]) == 'hash' then
    redis.call('HSET', KEYS[9], 'allow', 'false', 'reason', 'displaced_by_exit')
  end
  event(ARGV[21], ARGV[22], 'false', '0', 'displaced_by_exit')
  what = 'displaced'
end
redis.call('DEL', KEYS[6])
redis.call('HSET', KEYS[6], 'plan_id', ARGV[10], 'plan_entry_id', ARGV[2], 'action', ARGV[17])
return {what, at_us}
