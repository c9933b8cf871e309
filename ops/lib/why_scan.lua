-- Look through a stretch of a stream, newest first, for entries in which one of some fields holds its value.
-- KEYS[1]  the stream
-- ARGV[1]  newest id       ARGV[2]  oldest id       ARGV[3]  how many entries are looked at, at most
-- ARGV[4]..  field and value in turn
-- Returns  { the last id looked at where there may be more, else '', entries }
-- Guarantees: it only reads, and holds up others no longer than so many entries take (about 2 ms a thousand).
local entries = redis.call('XREVRANGE', KEYS[1], ARGV[1], ARGV[2], 'COUNT', ARGV[3])
local wanted, found = {}, {}
for i = 4, #ARGV, 2 do
  wanted[ARGV[i]] = ARGV[i + 1]
end
for _, entry in ipairs(entries) do
  local fields = entry[2]
  for i = 1, #fields, 2 do
    if wanted[fields[i]] == fields[i + 1] then
      found[#found + 1] = entry
      break
    end
  end
end
local last = ''
if #entries == tonumber(ARGV[3]) then
  last = entries[#entries][1]
end
return { last, found }
