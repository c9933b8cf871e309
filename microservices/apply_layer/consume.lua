-- Consumes the permits of a plan and makes its claim, or says in one word why not.
--
-- KEYS[1] lease            [2] the plan's claim     [3] quantum:apply:open    [4] kill switch   [5] the symbol's hold
-- KEYS[6] in-flight mark   [7] quantum:cfg:account  [8] quantum:exchange:backoff
-- KEYS[9] quantum:position:account                  [10] quantum:apply:opens
-- KEYS[11..] the permits needed, in the order of the gates' names
-- ARGV[1] instance id      [2] plan id              [3] its stream entry id   [4] symbol        [5] exit or open
-- ARGV[6] the plan's digest                         [7] mode                  [8] host          [9] account
-- ARGV[10] older, [11] younger of the plan's two times in ms                  [12] maximum age in ms
-- ARGV[13] the plan's quantity, 0 for none          [14] client order id      [15] what quantum:apply:open says of it
-- ARGV[16] largest notional of an open              [17] most positions       [18] 1: make the claim, 0: only judge
-- ARGV[19..] the gates' names
--
-- Returns one of
--   { 'lease_lost' }                         nothing was looked at
--   { 'exists', state, entry id }            the plan id has a claim; `unreadable` where it is no hash
--   { 'denied', gate, reason }               a gate says no
--   { 'missing', 1 if the plan is too old, gate, … }   these gates' permits are not there, or are none
--   { 'refused', code }                      one of our own reasons
--   { 'broken', key }                        a key of the claims has a wrong type
--   { 'ready', until when a back-off holds it, else 0 }   every check passed; the claim was not asked for, or may not be
--   { 'claimed', quantity }                  the claim is made, the permits are deleted
--
-- Guarantees: only `claimed` writes, and it writes everything: claim, its line in quantum:apply:open, and the deletion of
-- every permit. It is given only where this instance holds the lease, the plan has no claim, every permit is a JSON
-- object of version 1 that allows (exactly true) exactly this plan in this mode, is unexpired by this server's clock and
-- names a safe quantity above 0, the symbol's mark is this entry's, and neither kill switch, hold, account, age, nor for
-- opens notional and number of positions object. The quantity is the smallest safe one, never above the plan's own.
-- No input makes it raise: what cannot be read is no permit, or stops.
local instance, plan_id, entry_id, symbol = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local is_exit = ARGV[5] == 'exit'
local FIRST_PERMIT, FIRST_GATE = 10, 18

-- Decimal text without leading and trailing zeros, as { whole part, fraction }; nil where it is no plain decimal.
local function decimal(value)
  if type(value) ~= 'string' or #value > 41 then
    return nil
  end
  local int, fraction = value:match('^(%d+)%.(%d+)$')
  if int == nil then
    int, fraction = value:match('^%d+$'), ''
  end
  if int == nil then
    return nil
  end
  return { (int:gsub('^0+', '')), (fraction:gsub('0+$', '')) }
end

local function is_less(a, b)
  if #a[1] ~= #b[1] then
    return #a[1] < #b[1]
  end
  if a[1] ~= b[1] then
    return a[1] < b[1]
  end
  return a[2] < b[2]
end

local function plain(number)
  local int = number[1] == '' and '0' or number[1]
  return number[2] == '' and int or int .. '.' .. number[2]
end

local function is_zero(number)
  return number[1] == '' and number[2] == ''
end

-- Reads a permit that fits this plan; anything else is none.
local function fitting_permit(key, gate, at_ms)
  local raw = text(key)
  if raw == nil then
    return nil
  end
  local is_json, permit = pcall(cjson.decode, raw)
  if not is_json or type(permit) ~= 'table' then
    return nil
  end
  local expires = permit.expires_at_ms
  local fits = permit.v == 1 and permit.gate == gate and permit.plan_digest == ARGV[6] and permit.plan_id == plan_id
    and permit.symbol == symbol and permit.mode == ARGV[7] and type(permit.allow) == 'boolean'
    and type(expires) == 'number' and expires > at_ms and expires < 1e15
  return fits and permit or nil
end

local function mark_price(permit)
  local price = type(permit.context) == 'table' and decimal(permit.context.mark_price)
  return price and not is_zero(price) and tonumber(plain(price)) or nil
end

-- An allow needs a safe quantity above 0; p33's needs a mark price besides where an open is judged by it.
local function allows(permit, gate)
  local quantity = decimal(permit.safe_qty)
  if quantity == nil or is_zero(quantity) then
    return nil
  end
  if gate == 'p33' and not is_exit and mark_price(permit) == nil then
    return nil
  end
  return quantity
end

-- Counts open OPEN claims; what cannot be read counts too.
local function open_claims()
  local count = 0
  for _, raw in ipairs(redis.call('HVALS', KEYS[3])) do
    local is_json, claim = pcall(cjson.decode, raw)
    if not is_json or type(claim) ~= 'table' or claim.action == nil or claim.action == 'OPEN' then
      count = count + 1
    end
  end
  return count
end

-- Says why one more position is too many, or that it is not known how many there are; nil where it is not.
local function positions_refuse(at_ms)
  local seen_ms = whole(field(KEYS[9], 'ts_ms'))
  local positions = whole(field(KEYS[9], 'open_positions'))
  local is_whole = field(KEYS[9], 'complete') == 'true' and field(KEYS[9], 'one_way') == 'true'
  local is_ours = field(KEYS[9], 'mode') == ARGV[7] and field(KEYS[9], 'account') == ARGV[9]
  if not (is_whole and is_ours) or seen_ms == nil or positions == nil or at_ms - seen_ms > 10000
    or seen_ms - at_ms > 1000 then
    return 'stale_exchange_state'
  end
  -- An answer may not show a fill of the two seconds before it: such an open counts, if need be twice.
  local done = redis.call('ZCOUNT', KEYS[10], string.format('%.0f', seen_ms - 2000), '+inf')
  if positions + open_claims() + done >= tonumber(ARGV[17]) then
    return 'max_positions'
  end
  return nil
end

if not holds_lease(KEYS[1], instance) then
  return { 'lease_lost' }
end
if not is_type(KEYS[2], 'hash') then
  return { 'exists', 'unreadable', '' }
end
if redis.call('EXISTS', KEYS[2]) == 1 then
  return { 'exists', field(KEYS[2], 'state') or 'unreadable', field(KEYS[2], 'plan_entry_id') or '' }
end

local at_ms = now_ms()
local expired = is_expired(tonumber(ARGV[10]), tonumber(ARGV[11]), tonumber(ARGV[12]), at_ms)
local missing = { 'missing', expired and '1' or '0' }
local smallest, price
for index = 1, #KEYS - FIRST_PERMIT do
  local gate = ARGV[FIRST_GATE + index]
  local permit = fitting_permit(KEYS[FIRST_PERMIT + index], gate, at_ms)
  if permit and not permit.allow then
    return { 'denied', gate, type(permit.reason) == 'string' and permit.reason or '' }
  end
  local quantity = permit and allows(permit, gate)
  if quantity then
    smallest = (smallest == nil or is_less(quantity, smallest)) and quantity or smallest
    price = gate == 'p33' and mark_price(permit) or price
  else
    missing[#missing + 1] = gate
  end
end
if #missing > 2 or smallest == nil then
  return missing
end
local wanted = decimal(ARGV[13])
if wanted and not is_zero(wanted) and is_less(wanted, smallest) then
  smallest = wanted
end

if expired then
  return { 'refused', 'plan_expired' }
end
if not is_our_account(KEYS[7], ARGV[7], ARGV[8], ARGV[9]) then
  return { 'refused', 'account_mismatch' }
end
if kill_switch_stops(KEYS[4], is_exit) then
  return { 'refused', 'kill_switch' }
end
if hold_stops(KEYS[5], is_exit) then
  return { 'refused', 'reconcile_hold_active' }
end
if field(KEYS[6], 'plan_id') ~= plan_id or field(KEYS[6], 'plan_entry_id') ~= entry_id then
  return { 'refused', 'mark_lost' }
end
if not is_type(KEYS[3], 'hash') then
  return { 'broken', KEYS[3] }
end
if not is_exit then
  if not is_type(KEYS[10], 'zset') then
    return { 'broken', KEYS[10] }
  end
  -- Doubles carry 15 digits: the cap is no finer line than that.
  if price == nil or not (tonumber(plain(smallest)) * price <= tonumber(ARGV[16])) then
    return { 'refused', 'max_notional' }
  end
  local refusal = positions_refuse(at_ms)
  if refusal then
    return { 'refused', refusal }
  end
end
local until_ms = held_until(KEYS[8], at_ms)
if until_ms > 0 or ARGV[18] ~= '1' then
  return { 'ready', string.format('%.0f', until_ms) }
end

redis.call('HSET', KEYS[2], 'state', 'claimed', 'client_order_id', ARGV[14], 'symbol', symbol, 'qty', plain(smallest),
  'claimed_at_ms', string.format('%.0f', at_ms), 'plan_entry_id', entry_id)
redis.call('HSET', KEYS[3], plan_id, ARGV[15])
for index = FIRST_PERMIT + 1, #KEYS do
  redis.call('DEL', KEYS[index])
end
return { 'claimed', plain(smallest) }
