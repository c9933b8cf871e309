-- Turns a claim from claimed to sent, just before its one POST, or says in one word why the POST must not be made.
--
-- KEYS[1] lease            [2] the plan's claim     [3] quantum:apply:open    [4] kill switch   [5] the symbol's hold
-- KEYS[6] quantum:cfg:account                       [7] quantum:exchange:backoff
-- ARGV[1] instance id      [2] plan id              [3] its stream entry id   [4] exit or open
-- ARGV[5] mode             [6] host                 [7] account
-- ARGV[8] older, [9] younger of the plan's two times in ms                    [10] maximum age in ms
-- ARGV[11] the order's timestamp in ms, exchange time                         [12] what quantum:apply:open says of it
-- ARGV[13] the quantity that is sent
--
-- Returns { 'sent' }, or { 'lease_lost' }, { 'not_claimed' }, { 'plan_expired' }, { 'account_mismatch' },
-- { 'kill_switch' }, { 'reconcile_hold_active' }, { 'backoff' }, { 'broken' }.
--
-- Guarantees: `sent` is given once per claim, only to the holder of the lease, only for the claim of this very entry in
-- state claimed, while nothing that an operator or the exchange has said since forbids the order. Else nothing is written.
local is_exit = ARGV[4] == 'exit'
if not holds_lease(KEYS[1], ARGV[1]) then
  return { 'lease_lost' }
end
if field(KEYS[2], 'state') ~= 'claimed' or field(KEYS[2], 'plan_entry_id') ~= ARGV[3] then
  return { 'not_claimed' }
end
local at_ms = now_ms()
if is_expired(tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10]), at_ms) then
  return { 'plan_expired' }
end
if not is_our_account(KEYS[6], ARGV[5], ARGV[6], ARGV[7]) then
  return { 'account_mismatch' }
end
if kill_switch_stops(KEYS[4], is_exit) then
  return { 'kill_switch' }
end
if hold_stops(KEYS[5], is_exit) then
  return { 'reconcile_hold_active' }
end
if held_until(KEYS[7], at_ms) > 0 then
  return { 'backoff' }
end
if not is_type(KEYS[3], 'hash') then
  return { 'broken' }
end
redis.call('HSET', KEYS[2], 'state', 'sent', 'qty', ARGV[13], 'sent_at_ms', ARGV[11])
redis.call('HSET', KEYS[3], ARGV[2], ARGV[12])
return { 'sent' }
