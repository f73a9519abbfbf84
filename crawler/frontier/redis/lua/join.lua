-- needs: clock, number, line, ledger
-- Moves a host into the group of hosts that share its address (or its domain): from then on they share turns.
--
-- KEYS  1 P host:H
-- ARGV  1 P   2 host   3 group ('': none)   4 names of the jobs in which the host may stand in its old group's line, as
--       a MessagePack array
-- Returns for how many ms the host has been in the group (0: it joined now; a huge number: it never was in any group).
-- Stays true: a group's `inflight` is the sum of its hosts', so the host's own count moves with it; a host stands in the
-- line of its own group alone.

local P, host, group = ARGV[1], ARGV[2], ARGV[3]
local now = now_ms()
local ledger = redis.call('HMGET', KEYS[1], 'group', 'placed', 'inflight')
local before, inflight = ledger[1] or '', as_number(ledger[3])
if group == before then return now - as_number(ledger[2]) end

local function keep(key) -- for as long as a claim would
  if redis.call('PTTL', key) < 0 then redis.call('PEXPIRE', key, LEDGER_TTL) end
end

redis.call('HSET', KEYS[1], 'group', group, 'placed', now)
keep(KEYS[1])
if before ~= '' then
  local old = redis.call('HMGET', P .. 'host:' .. before, 'next', 'inflight', 'waiting')
  end_requests(P, before, inflight, as_number(old[2]), old[3] or '', as_number(old[1]), now)
  for _, job in ipairs(cmsgpack.unpack(ARGV[4])) do
    local J = P .. 'job:' .. job .. ':'
    if redis.call('ZREM', J .. 'line:' .. before, host) == 1 then
      redis.call('HINCRBY', J .. 'stats', 'lined', -1)
      redis.call('ZADD', J .. 'hosts', 'NX', comes_in(J, host, now), host)
    end
  end
end
if group ~= '' then
  local G = P .. 'host:' .. group
  redis.call('HSET', G, 'inflight', as_number(redis.call('HGET', G, 'inflight')) + inflight)
  keep(G)
end
return 0
