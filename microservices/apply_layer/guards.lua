-- What several scripts of the apply layer ask before they act. Put in front of each; reads only, and never raises.
-- It takes no KEYS and ARGV of its own: every function is given the names and values it needs.
--
-- A key of a wrong type is never absent: `text` and `field` say so by their second value, and each guard then denies.

local function is_type(key, wanted)
  local kind = redis.call('TYPE', key).ok
  return kind == wanted or kind == 'none'
end

-- Returns the string under a key, or nil; and whether something else than a string is there.
local function text(key)
  local value = redis.pcall('GET', key)
  if type(value) == 'table' then
    return nil, true
  end
  return value or nil, false
end

-- Returns a field of a hash, or nil; also where the key is no hash.
local function field(key, name)
  local value = redis.pcall('HGET', key, name)
  return type(value) == 'string' and value or nil
end

-- Returns a whole number of up to 15 digits, or nil.
local function whole(value)
  if type(value) == 'string' and #value <= 15 and value:match('^%d+$') then
    return tonumber(value)
  end
  return nil
end

local function now_ms()
  local now = redis.call('TIME')
  return tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000)
end

local function holds_lease(key, instance)
  return text(key) == instance
end

-- Who an order is for: mode, host and account of this service against quantum:cfg:account.
local function is_our_account(key, mode, host, account)
  return field(key, 'mode') == mode and field(key, 'host') == host and field(key, 'account') == account
end

-- The kill switch: absent stops opens; `no_new_risk` too; `off` nothing; anything else everything.
local function kill_switch_stops(key, is_exit)
  local value, unreadable = text(key)
  if unreadable then
    return true
  end
  local state = (value or 'no_new_risk'):match('^%s*(.-)%s*$'):lower()
  if state == 'off' then
    return false
  end
  return not (is_exit and state == 'no_new_risk')
end

-- A hold stops opens; one that begins with `all:`, or is no text, exits too.
local function hold_stops(key, is_exit)
  local value, unreadable = text(key)
  if unreadable then
    return true
  end
  return value ~= nil and (not is_exit or value:sub(1, 4) == 'all:')
end

-- A plan is too old by the older of its two times, and invalid where the younger is over 5 s in the future.
local function is_expired(oldest_ms, newest_ms, max_age_ms, at_ms)
  return not (at_ms - oldest_ms <= max_age_ms and newest_ms - at_ms <= 5000)
end

-- Returns until when no order may be sent, in ms, 0 where it may: a ban of this address (418), or an order of ours that
-- was answered with 429. What cannot be read holds back for a second.
local function held_until(key, at_ms)
  if not is_type(key, 'hash') then
    return at_ms + 1000
  end
  local latest = 0
  for _, name in ipairs({ 'banned_until_ms', 'orders_until_ms' }) do
    local value = field(key, name)
    local until_ms = whole(value)
    if value ~= nil and until_ms == nil then
      return at_ms + 1000
    end
    latest = math.max(latest, until_ms or 0)
  end
  return latest > at_ms and latest or 0
end

