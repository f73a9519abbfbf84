-- needs: clock, booking
-- Books a turn of a group in its home shard, for a lease of a host that lies in another shard.
--
-- KEYS  1 P workers
-- ARGV  1 as MessagePack, by name:
--         P, worker, host, group
--         id     names the lease
--         shard  the number of the host's shard, as text
--         lease, delay, jitter, cap, random  as for `claim.lua`
-- Returns 0 if the lease has a turn (also when it had it before); else after how many ms it may ask again.
-- Stays true: over all shards a group has at most `cap` requests in flight, and its turns are at least its delay apart;
-- a turn is the worker's until it ends (`end_turns.lua`) or the worker is reaped.

local claim = cmsgpack.unpack(ARGV[1])
claim.now = now_ms()
local turns = claim.P .. 'worker:' .. claim.worker .. ':turns'
if redis.call('HEXISTS', turns, claim.id) == 1 then return 0 end
local own, group = ledger_of(claim, claim.host), ledger_of(claim, claim.group)
share_cap(claim, own, group)
if is_free(claim, group) then
  redis.call('HSET', turns, claim.id, claim.group)
  redis.call('ZADD', KEYS[1], claim.now + claim.lease, claim.worker)
  book(claim, group, 1, shared_pace(claim, own, group))
  return 0
end
line_up(claim, group)
local wait = math.max(1, group.due - claim.now)
-- without room its turn is a pace after the end of a request that is in flight now
return group.inflight < group.cap and wait or math.max(wait, group.pace, ROOM_POLL)
