-- Gives an order that was, or may have been, sent its claim back as sent, whatever a rollback has left of it.
--
-- KEYS[1] lease            [2] the plan's claim     [3] quantum:apply:open
-- ARGV[1] instance id      [2] plan id              [3] its stream entry id   [4] client order id
-- ARGV[5] symbol           [6] quantity             [7] the order's timestamp in ms
-- ARGV[8] what quantum:apply:open says of it
--
-- Returns { 'restored' }, { 'exists', state, entry id, result id } where the claim is done, another entry's, or no hash,
-- or { 'lease_lost' }.
--
-- Guarantees: a claim that is done, or another entry's, is never touched. Else claim and open line say sent, without expiry.
if not holds_lease(KEYS[1], ARGV[1]) then
  return { 'lease_lost' }
end
if not is_type(KEYS[2], 'hash') then
  return { 'exists', 'unreadable', '', '' }
end
local state, entry_id = field(KEYS[2], 'state'), field(KEYS[2], 'plan_entry_id')
if redis.call('EXISTS', KEYS[2]) == 1 and (state == 'done' or entry_id ~= ARGV[3]) then
  return { 'exists', state or 'unreadable', entry_id or '', field(KEYS[2], 'result_id') or '' }
end
redis.call('HSET', KEYS[2], 'state', 'sent', 'client_order_id', ARGV[4], 'symbol', ARGV[5], 'qty', ARGV[6],
  'sent_at_ms', ARGV[7], 'plan_entry_id', ARGV[3])
redis.call('PERSIST', KEYS[2])
if is_type(KEYS[3], 'hash') then
  redis.call('HSET', KEYS[3], ARGV[2], ARGV[8])
end
return { 'restored' }
