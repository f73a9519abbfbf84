-- needs: clock, number, counters, closing, quota, budget
-- Asks a limited job's budget, before a claim in any shard, whether the job goes on; lends another shard a part of it.
--
-- KEYS  1 J stats, in the first shard
-- ARGV  1 as MessagePack, by name:
--         J, epoch
--         others  the other shards, as in `budget.lua`
--         shard   the number of the shard that is to borrow, as text; '': none
--         wanted  requests that it could hand out
-- Returns { 'closed', the word of the closing } if the job is closed; { 'open' } if it has no limits any more;
-- { 'limited', how much that shard has ever been given, 0 without one }; or the error GONE.
-- Stays true: over all shards the pages read and in flight are at most the limit. If the reply or the claim is lost,
-- the loan is not: the next claim in that shard finds it, uses it or returns it (`quota.lua`).

local draw = cmsgpack.unpack(ARGV[1])
local budget, stats = draw.J .. 'budget', KEYS[1]
if gone(stats, draw.epoch) then return redis.error_reply('GONE') end
local now, found = now_ms(), redis.call('HMGET', stats, 'closed', 'quota')
if found[1] then return { 'closed', found[1] } end
if not found[2] then return { 'open' } end

local limits = limits_in(budget)
local quota = reckon(budget, stats, limits, draw.others)
local reason = reached(budget, limits, totals_of(stats, draw.others), now)
if reason then
  close(stats, reason, now)
  return { 'closed', redis.call('HGET', stats, 'closed') }
end
local given = 'given:' .. draw.shard
local part = math.min(draw.wanted, quota - used_by(stats))
if part > 0 then
  redis.call('HINCRBY', budget, given, part)
  redis.call('HINCRBY', stats, 'quota', -part)
end
return { 'limited', as_number(redis.call('HGET', budget, given)) }
