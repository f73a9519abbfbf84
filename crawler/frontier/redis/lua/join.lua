-- needs: clock, number, line, ledger, booking
-- Moves a host into the group of hosts that share its address (or its domain): from then on they share turns.
--
-- KEYS  1 P host:H
-- ARGV  1 as MessagePack, by name:
--         P, host, group ('': none)
--         jobs   names of those in which the host may stand in its old group's line
--         job    of the lease for which the group was looked up; '': there is none
--         shard, delay, jitter, cap, random  as for `claim.lua`, for the turn of that lease
-- Returns { for how many ms the host has been in the group (0: it joined now; a huge number: it never was in any
-- group), 1 if that lease has a turn of the group now, else 0 }.
-- Stays true: a group's `inflight` is the sum of its hosts', so the host's own count moves with it; a host stands in
-- the line of its own group alone; the turn is booked as a claim books it, and the end of the lease settles it.

local joining = cmsgpack.unpack(ARGV[1])
joining.now = now_ms()
local P, host, group, now = joining.P, joining.host, joining.group, joining.now
local ledger = redis.call('HMGET', KEYS[1], 'group', 'placed', 'inflight')
local before, inflight = ledger[1] or '', as_number(ledger[3])
if group == before then return { now - as_number(ledger[2]), 0 } end

local function keep(key) -- for as long as a claim would
  if redis.call('PTTL', key) < 0 then redis.call('PEXPIRE', key, LEDGER_TTL) end
end

redis.call('HSET', KEYS[1], 'group', group, 'placed', now)
keep(KEYS[1])
if before ~= '' then
  local old = redis.call('HMGET', P .. 'host:' .. before, 'next', 'inflight', 'waiting')
  end_requests(P, before, inflight, as_number(old[2]), old[3] or '', as_number(old[1]), now)
  for _, job in ipairs(joining.jobs) do
    local J = P .. 'job:' .. job .. ':'
    if redis.call('ZREM', J .. 'line:' .. before, host) == 1 then
      redis.call('HINCRBY', J .. 'stats', 'lined', -1)
      redis.call('ZADD', J .. 'hosts', 'NX', comes_in(J, host, now), host)
    end
  end
end
if group == '' then return { 0, 0 } end
local G = P .. 'host:' .. group
local own, its = ledger_of(joining, host), ledger_of(joining, group)
share_cap(joining, own, its)
if inflight == 1 and joining.job ~= '' and is_free(joining, its)
  and redis.call('EXISTS', P .. 'job:' .. joining.job .. ':line:' .. group) == 0 then
  book(joining, its, 1, shared_pace(joining, own, its))
  return { 0, 1 }
end
redis.call('HSET', G, 'inflight', its.inflight + inflight)
keep(G)
return { 0, 0 }
