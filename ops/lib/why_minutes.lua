-- Name the minutes whose index holds one of some marks: decision intelligence notes in it four bytes of each plan id
-- and symbol that a result of the minute named (microservices/decision_intelligence/index.py).
-- ARGV[1]  newest minute since the epoch     ARGV[2]  oldest     ARGV[3]..  marks
-- Returns  minutes, newest first; a few may hold a mark by chance
-- Guarantees: it only reads. The keys are those of the minutes; what is no string is passed over.
local found = {}
for minute = tonumber(ARGV[1]), tonumber(ARGV[2]), -1 do
  local marks = redis.pcall('GET', 'quantum:p35:index:' .. string.format('%d', minute))
  if type(marks) == 'string' then
    for i = 3, #ARGV do
      if marks:find(ARGV[i], 1, true) then
        found[#found + 1] = minute
        break
      end
    end
  end
end
return found
