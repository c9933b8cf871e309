-- What the brain's scripts have in common. Put in front of each.
-- It takes no KEYS and ARGV of its own: every function is given the names and values it needs.

local function kind(key)
  return redis.call('TYPE', key).ok
end

-- Returns whether there is nothing under a key, or something of this type.
local function one_of(key, wanted)
  local found = kind(key)
  return found == 'none' or found == wanted
end

local function holds_lease(key, instance)
  return kind(key) == 'string' and redis.call('GET', key) == instance
end

local function now_us()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000000 + tonumber(time[2])
end

-- Returns a whole number as text; Lua's own way would write a large one with an exponent.
local function whole(number)
  return string.format('%.0f', math.floor(number))
end

-- Appends a permit event; `about` has gate, plan_id, plan_entry_id, symbol, allow, safe_qty, reason and context.
local function append_event(stream, length, at_us, about)
  redis.call('XADD', stream, 'MAXLEN', '~', length, '*', 'gate', about.gate, 'plan_id', about.plan_id,
    'plan_entry_id', about.plan_entry_id, 'symbol', about.symbol, 'allow', about.allow, 'safe_qty', about.safe_qty,
    'reason', about.reason, 'context', about.context, 'issued_at_ms', whole(at_us / 1000))
end

-- Returns the event of an adoption: of no plan, allowing nothing.
local function adoption(gate, symbol, reason, context)
  return {gate = gate, plan_id = '', plan_entry_id = '', symbol = symbol, allow = 'false', safe_qty = '0',
    reason = reason, context = context}
end

