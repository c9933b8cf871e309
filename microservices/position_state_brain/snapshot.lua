-- Write a complete answer about the account: the account's row, the symbols' rows, and the end of rows of the past.
-- KEYS[1]  lease of the brain     KEYS[2]  the account's row
-- KEYS[3…] the symbols' rows, first those to write, then those to remove
-- ARGV[1]  our instance id        ARGV[2]  life of a row in s       ARGV[3]  epoch ms at which it was requested
-- ARGV[4]  how many rows to write ARGV[5]  how many arguments the account's row has, names and values
-- ARGV[6]  how many each symbol's row has
-- ARGV[7…] the account's row, then the symbols' rows
-- Returns lease_lost, older (a newer answer stands there) or done. A time in the future, left by a clock that was set
-- back, is no newer answer.
if not holds_lease(KEYS[1], ARGV[1]) then
  return 'lease_lost'
end
local standing = kind(KEYS[2]) == 'hash' and tonumber(redis.call('HGET', KEYS[2], 'ts_ms') or '') or 0
if standing > tonumber(ARGV[3]) and standing <= now_us() / 1000 then
  return 'older'
end
local function write(key, first, count)
  redis.call('DEL', key)
  redis.call('HSET', key, unpack(ARGV, first, first + count - 1))
  redis.call('EXPIRE', key, ARGV[2])
end
local rows, per_account, per_row = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
write(KEYS[2], 7, per_account)
for index = 1, rows do
  write(KEYS[2 + index], 7 + per_account + (index - 1) * per_row, per_row)
end
for index = 3 + rows, #KEYS do
  redis.call('UNLINK', KEYS[index])
end
return 'done'
