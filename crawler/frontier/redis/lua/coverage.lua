-- Reads in how many items each field is filled, in one step, because a commit moves pages from windows to records.
--
-- KEYS  1 J coverage
-- ARGV  1 J
-- Returns { key, record, { entries of its window }, key … }.
-- Stays true: everything.

local found = redis.call('HGETALL', KEYS[1])
local reply = {}
for at = 1, #found, 2 do
  reply[#reply + 1] = found[at]
  reply[#reply + 1] = found[at + 1]
  reply[#reply + 1] = redis.call('LRANGE', ARGV[1] .. 'window:' .. found[at], 0, -1)
end
return reply
