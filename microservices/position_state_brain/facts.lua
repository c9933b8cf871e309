-- Read everything that decides on a plan as it stands at one moment. Writes nothing.
-- KEYS[1]  kill switch            KEYS[2]  the symbol's hold        KEYS[3]  the plan's claim
-- KEYS[4]  the plan's verdict     KEYS[5]  the symbol's in-flight mark
-- KEYS[6]  open claims            KEYS[7]  the symbol's ledger row  KEYS[8]  baseline
-- KEYS[9]  instruments            KEYS[10] meta of the universe
-- ARGV[1]  symbol                 ARGV[2…] fields of the meta
-- Returns Redis's time; kill switch and hold; whether there is a claim, and of which entry; verdict, mark, open claims,
-- ledger row and baseline as names and values in turn; the symbol's instrument; the fields of the meta. A key of
-- another type answers with its error, what is absent with nil or nothing in it.
local ask = redis.pcall
return {
  redis.call('TIME'),
  ask('GET', KEYS[1]),
  ask('GET', KEYS[2]),
  ask('EXISTS', KEYS[3]),
  ask('HGET', KEYS[3], 'plan_entry_id'),
  ask('HGETALL', KEYS[4]),
  ask('HGETALL', KEYS[5]),
  ask('HGETALL', KEYS[6]),
  ask('HGETALL', KEYS[7]),
  ask('HGETALL', KEYS[8]),
  ask('HGET', KEYS[9], ARGV[1]),
  ask('HMGET', KEYS[10], unpack(ARGV, 2)),
}
