-- Ack a plan that gets no permit, with an event where there is something to say: an id that may stand in no key, a
-- duplicate, a plan that came as something else than EXECUTE.
-- KEYS[1]  stream of plans        KEYS[2]  lease of the brain       KEYS[3]  stream of permit events
-- ARGV[1]  group                  ARGV[2]  entry id of the plan     ARGV[3]  our instance id
-- ARGV[4]  length of the event stream, about
-- ARGV[5]  gate, empty for no event  ARGV[6]  plan id as it came    ARGV[7]  symbol
-- ARGV[8]  reason                 ARGV[9]  context
-- Returns {what, now in µs}: lease_lost (nothing written), not_ours (it was not pending), done; wrong_type is done
-- without its event, because the stream of events is none.
if not holds_lease(KEYS[2], ARGV[3]) then
  return {'lease_lost', 0}
end
local at_us = now_us()
if redis.call('XACK', KEYS[1], ARGV[1], ARGV[2]) ~= 1 then
  return {'not_ours', at_us}
end
if ARGV[5] == '' then
  return {'done', at_us}
end
if not one_of(KEYS[3], 'stream') then
  return {'wrong_type', at_us}
end
append_event(KEYS[3], ARGV[4], at_us, {gate = ARGV[5], plan_id = ARGV[6], plan_entry_id = ARGV[2], symbol = ARGV[7],
  allow = 'false', safe_qty = '0', reason = ARGV[8], context = ARGV[9]})
return {'done', at_us}
